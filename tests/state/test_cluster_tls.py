"""A Redis Cluster and Sentinels that speak TLS alone, among themselves too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_line import open_line, packed
from state.redis_rounds import RedisRounds
from tests.certificates import Certificates
from tests.redis_cluster import running_cluster, watched_by_sentinels
from tests.tls_redis import program_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tls(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What servers are started with, and what test clients show; the server on the path is one that speaks TLS."""
    folder = program_in(tmp_path_factory.mktemp("server")).parent
    shown = certificates.server
    told = (
        *("--tls-cert-file", str(shown.certificate), "--tls-key-file", str(shown.key)),
        *("--tls-ca-cert-file", str(certificates.ca), "--tls-auth-clients", "no"),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield {"tls": told, "files": {"ssl_ca_certs": str(certificates.ca)}}


def expect_all_work(settings: RedisSettings) -> None:
    client, keys = connect(settings), [f"{{p{n}}}:x" for n in range(8)]
    rounds = RedisRounds(client)
    for n, key in enumerate(keys):
        client.set(key, n)
    expected = [b"%d" % n for n in range(8)]
    assert rounds.ask([("GET", key) for key in keys]) == expected

    async def asked() -> list[Any]:
        line = open_line(settings)
        try:
            return await line.call(packed(*((b"GET", key.encode()) for key in keys)), 8)
        finally:
            await line.close()

    assert asyncio.run(asked()) == expected
    rounds.close()
    client.close()


def test_a_cluster_that_speaks_tls_alone_is_asked_by_it(
    tls: dict[str, Any], certificates: Certificates, tmp_path: Path
) -> None:
    with running_cluster(tmp_path, replicas=0, **tls) as cluster:
        told: dict[str, Any] = {"url": cluster.url, "kind": "cluster", "timeout_ms": 20_000}
        expect_all_work(RedisSettings(**told, tls_ca=str(certificates.ca)))
        stranger = RedisSettings(**told, tls_ca=str(certificates.other_ca))
        client = connect(stranger)
        with pytest.raises(StateUnavailable, match="TLS_CA"), redis_errors_translated(stranger):
            client.get("a")
        client.close()


def test_sentinels_and_what_they_watch_are_asked_by_tls(
    tls: dict[str, Any], certificates: Certificates, tmp_path: Path
) -> None:
    with watched_by_sentinels(tmp_path, **tls) as watched:
        expect_all_work(watched.settings(tls_ca=str(certificates.ca), timeout_ms=20_000))
