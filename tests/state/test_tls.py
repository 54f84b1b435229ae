"""Everything that speaks with Redis speaks TLS: what holds on a plain Redis holds on one that wants certificates too.

And where a certificate is refused, that is an outage, told in one line that says what to do.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_async_writer, open_dead_letters, open_reader, open_writer
from state.async_tables import AsyncTableReader
from state.client import connect
from state.read_progress import StateWatch
from state.redis_rounds import RedisRounds
from state.sessions import SessionReader, SessionStore
from state.tables import TableReader, TableWriter
from tests.certificates import Certificates
from tests.eventlog.logs import clicks

# the same tests, with the settings of this module
from tests.state.test_sessions import (  # noqa: F401
    test_a_batch_is_applied_once_however_often_it_is_committed,
    test_several_views_come_in_one_read,
    test_what_was_committed_is_loaded_with_its_offset,
)
from tests.state.test_tables import (  # noqa: F401
    test_a_batch_that_does_not_start_at_the_stored_offset_changes_nothing,
    test_rows_changes_and_offset_move_together,
    test_the_event_loop_reader_sees_the_same,
)
from tests.tls_redis import PASSWORD, TlsRedis, running


@pytest.fixture
def redis_settings(strict_redis: TlsRedis) -> RedisSettings:
    return strict_redis.as_client(f"t{uuid.uuid4().hex[:12]}")


async def test_rounds_and_the_watch_of_state_speak_it_too(redis_settings: RedisSettings) -> None:
    rounds = RedisRounds(connect(redis_settings))
    assert rounds.run([("PING",), ("GET", "nothing")]) == [b"PONG", None]
    rounds.close()
    watch = StateWatch(redis_settings, within_s=60.0)
    assert (await watch.look()).refuses is None
    await watch.close()


def table_reader(redis: RedisSettings) -> Any:
    return TableReader(redis, "t").end()


def table_writer(redis: RedisSettings) -> Any:
    return TableWriter(redis, "t").commit({b"a": b"1"})


def store(redis: RedisSettings) -> Any:
    return SessionStore(redis, idle_gap_ms=1000).load(0, ["a"])


async def view(redis: RedisSettings) -> None:
    reader = SessionReader(redis, partitions=4)
    try:
        await reader.read(["a"])
    finally:
        await reader.close()


async def followed(redis: RedisSettings) -> None:
    reader = AsyncTableReader(redis, "t")
    try:
        await reader.end()
    finally:
        await reader.close()


def writer(redis: RedisSettings) -> Any:
    return open_writer(LogSettings(), redis).append(Topic.CLICKS, clicks("anna", 1))


def reader(redis: RedisSettings) -> Any:
    return open_reader(LogSettings(), redis, Topic.CLICKS, [0], "g").ends()


def letters(redis: RedisSettings) -> Any:
    return open_dead_letters(LogSettings(), redis).count()


async def later(redis: RedisSettings) -> None:
    opened = open_async_writer(LogSettings(), redis)
    try:
        await opened.append(Topic.CLICKS, clicks("anna", 1))
    finally:
        await opened.close()


CALLS: tuple[Callable[[RedisSettings], Any | Awaitable[None]], ...] = (
    *(table_reader, table_writer, store, view, followed, writer, reader, letters, later),
)
TRUST = "its certificate is not trusted: name the file of who signed it in NEXTCLICK_REDIS__TLS_CA"
OURS = "NEXTCLICK_REDIS__TLS_CERTIFICATE and NEXTCLICK_REDIS__TLS_KEY"
"""What to look at. Redis says that it wants a certificate by an alert, or by ending the connection, as it happens."""


async def refused(call: Callable[[RedisSettings], Any], redis: RedisSettings) -> str:
    async def called() -> None:
        answer = call(redis)
        if hasattr(answer, "__await__"):
            await answer

    with pytest.raises((StateUnavailable, LogUnavailable)) as raised:
        await called()
    return str(raised.value)


@pytest.mark.parametrize("call", CALLS)
async def test_a_certificate_that_is_not_trusted_is_an_outage_with_what_to_do(
    tls_redis: TlsRedis, certificates: Certificates, call: Callable[[RedisSettings], Any]
) -> None:
    said = await refused(call, tls_redis.settings("t", tls_ca=str(certificates.other_ca)))
    assert TRUST in said
    assert f"127.0.0.1:{tls_redis.port}" in said
    assert PASSWORD not in said
    assert "\n" not in said


@pytest.mark.parametrize("call", CALLS)
async def test_so_is_a_server_that_wants_one_of_us(
    strict_redis: TlsRedis, certificates: Certificates, call: Callable[[RedisSettings], Any]
) -> None:
    strange = certificates.strange_client
    for more in ({}, {"tls_certificate": str(strange.certificate), "tls_key": str(strange.key)}):
        said = await refused(call, strict_redis.settings("t", **more))
        assert OURS in said
        assert PASSWORD not in said


@pytest.fixture(params=["other_host", "expired", "other_server"])
def wrong(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TlsRedis, str]]:
    said = {
        "other_host": "its certificate is of another host: name one in NEXTCLICK_REDIS__URL that the certificate names",
        "expired": "its certificate is out of date: renew it, or set the clock right",
        "other_server": TRUST,
    }[request.param]
    with running(
        TlsRedis(tmp_path_factory.mktemp("wrong"), certificates), getattr(certificates, request.param)
    ) as server:
        yield server, said


async def test_a_wrong_certificate_is_named_as_what_it_is(wrong: tuple[TlsRedis, str]) -> None:
    server, said = wrong
    for call in CALLS:
        assert said in await refused(call, server.settings("t")), call


async def test_tls_to_a_plain_port_is_an_outage_and_so_are_plain_words_to_a_port_of_tls(tls_redis: TlsRedis) -> None:
    url = tls_redis.url.replace(str(tls_redis.port), str(tls_redis.plain_port))
    plain_port = tls_redis.settings("t", url=url, timeout_ms=200)  # Redis waits for the end of a line
    plain_words = RedisSettings(url=tls_redis.url.replace("rediss", "redis"), timeout_ms=2000)
    for call in CALLS:
        said = await refused(call, plain_port)
        assert "check that it runs and can be reached, and NEXTCLICK_REDIS__URL. It may speak no TLS there" in said, (
            call
        )
        assert PASSWORD not in said + await refused(call, plain_words)
