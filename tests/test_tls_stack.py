"""A whole stack whose Redis and Kafka speak TLS: every process, commands, and a certificate that is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.settings import IndexSettings, LogSettings, RedisSettings
from eventlog.files import write_events
from nextclick.stack.client import Client, GatewayRefused
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from state.ports import free_port
from tests.certificates import Certificates
from tests.gateway.conftest import event
from tests.kafka_tls import PASSWORD as KAFKA_PASSWORD
from tests.kafka_tls import TlsKafka
from tests.tls_redis import PASSWORD, TlsRedis
from tests.whole_answers import whole_answer

pytestmark = pytest.mark.slow


def click(number: int) -> dict[str, Any]:
    return event(f"e-{number}", "s", f"i-{number}")


def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def stack_on(folder: Path, redis: RedisSettings, log: LogSettings) -> Stack:
    """Every process that there is: flows, gateway, and the builder, which has something to build."""
    index = IndexSettings(builder=True, min_items=1)
    options = StackOptions(port=0, folder=folder / "stack", embedded_redis=False)
    return Stack(StackSettings(stack=options, redis=redis, log=log, index=index, artifacts=str(ARTIFACTS)))


def command(stack: Stack, *typed: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "nextclick", *typed]
    environment = {**os.environ, **stack._environment()}
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=120)


def expect_all_works(stack: Stack, folder: Path) -> None:
    with Client(stack.url) as client:
        items = [b'{"item_id":"i-%d","title":"Trail boot %d","category":"shoes"}' % (n, n) for n in range(20)]
        assert client.put_items(items) == {"accepted": 20, "rejected": [], "visible": True}
        token = client.send_events([click(n) for n in range(3)])["token"]
        answer = client.recommend("homepage", "s", after=token, limit=5)
        assert (answer["session"]["events"], len(answer["recommendations"])) == (3, 5)
    until((folder / "stack" / "index" / "current.json").exists)
    listed = command(stack, "dead-letters", "count")
    assert listed.returncode == 0, listed.stderr
    inspected = command(stack, "index", "build", "--folder", str(folder / "other"), "--artifacts", str(ARTIFACTS))
    assert inspected.returncode == 0, inspected.stdout + inspected.stderr
    for path in (folder / "stack" / "logs").glob("*.log"):
        said = path.read_text()
        assert "Traceback" not in said, path
        assert PASSWORD not in said, path
        assert KAFKA_PASSWORD not in said, path


@pytest.fixture
def redis(tmp_path: Path, certificates: Certificates) -> Iterator[TlsRedis]:
    (tmp_path / "redis").mkdir()
    server = TlsRedis(tmp_path / "redis", certificates)
    server.start(asks_clients=True)
    yield server
    server.stop()


def test_a_stack_works_on_a_redis_with_tls_and_waits_while_its_certificate_is_not_trusted(
    tmp_path: Path, redis: TlsRedis, certificates: Certificates
) -> None:
    settings = redis.as_client("tls").model_copy(update={"timeout_ms": 2000})
    with stack_on(tmp_path, settings, LogSettings(partitions=2)) as stack, Client(stack.url) as client:
        expect_all_works(stack, tmp_path)
        redis.stop()
        redis.start(certificates.other_server, asks_clients=True)
        logs = sorted((tmp_path / "stack" / "logs").glob("*.log"))
        told = "its certificate is not trusted: name the file of who signed it in NEXTCLICK_REDIS__TLS_CA"
        with pytest.raises(GatewayRefused, match="503"):
            client.send_events([click(3)])
        assert client.recommend("homepage", "s")["degraded"] == ["session_unavailable"]
        flows = [path for path in logs if path.stem in ("sessions", "items", "trends")]
        until(lambda: all("TLS" in path.read_text() for path in flows))
        time.sleep(3)
        for path in logs:
            lines = [line for line in path.read_text().splitlines() if told in line]
            assert len(lines) <= 8, (path, lines)  # a line for what is out, not for each of the tries
            assert not any(PASSWORD in line for line in lines)
        redis.stop()
        redis.start(asks_clients=True)
        until(lambda: _taken(client, 4))
        token = client.send_events([click(5)])["token"]
        whole_answer(client, "s", token)
        assert "Traceback" not in "".join(path.read_text() for path in logs)
        assert all(child.process is not None and child.process.poll() is None for child in stack.supervisor.children)  # type: ignore[union-attr]
        assert not [line for path in logs for line in path.read_text().splitlines() if re.search("died|restart", line)]


def _taken(client: Client, number: int) -> bool:
    try:
        client.send_events([click(number)])
    except GatewayRefused:
        return False
    return True


@pytest.mark.kafka
def test_a_stack_works_on_kafka_with_tls_and_a_password(tmp_path: Path, redis: TlsRedis, tls_kafka: TlsKafka) -> None:
    with stack_on(tmp_path, redis.as_client("tls"), tls_kafka.settings("users", kafka_mechanism="PLAIN")) as stack:
        expect_all_works(stack, tmp_path)


def test_the_embedded_redis_speaks_no_tls_whatever_is_set_for_others(
    tmp_path: Path, certificates: Certificates
) -> None:
    others = RedisSettings(url="rediss://redis.example:6380/0", tls_ca=str(certificates.ca))
    stack = Stack(StackSettings(stack=StackOptions(port=0, folder=tmp_path / "stack"), redis=others))
    with stack, Client(stack.url) as client:
        assert client.is_ready()
        told = stack.redis_environment
        assert (told["NEXTCLICK_REDIS__TLS_CA"], told["NEXTCLICK_REDIS__URL"][:8]) == ("", "redis://")
        assert "NEXTCLICK_REDIS__TLS_CA" not in os.environ


def test_a_stack_that_speaks_https_is_asked_by_it_by_everything_of_ours(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate is for a shop's name; who asks on this machine knows it by the file."""
    shop = certificates.other_host
    monkeypatch.setenv("NEXTCLICK_GATEWAY__TLS_CERTIFICATE", str(shop.certificate))
    monkeypatch.setenv("NEXTCLICK_GATEWAY__TLS_KEY", str(shop.key))
    port = free_port()
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", str(port))
    options = StackOptions(port=port, folder=tmp_path / "stack", gateways=2)
    with Stack(StackSettings(stack=options)) as stack:
        assert stack.url == f"https://127.0.0.1:{port}"
        items = tmp_path / "items.jsonl"
        items.write_text('{"item_id":"i-1","title":"Trail boot"}\n{"item_id":"i-2","title":"Light boot"}\n')
        loaded = command(stack, "items", "load", str(items))
        assert loaded.returncode == 0, loaded.stdout + loaded.stderr
        clicks = tmp_path / "clicks.jsonl.zst"
        write_events(clicks, [event("e-1", "s", "i-1")])
        played = command(stack, "replay", "play", str(clicks))
        assert played.returncode == 0, played.stdout + played.stderr
        with Client(stack.url) as client:
            assert client.item("i-1")["title"] == "Trail boot"
        own = {"NEXTCLICK_GATEWAY__TLS_CERTIFICATE": "", "NEXTCLICK_GATEWAY__TLS_KEY": ""}
        elsewhere = {**os.environ, **own, "SSL_CERT_FILE": str(certificates.other_ca)}
        program = [sys.executable, "-m", "nextclick", "items", "load", str(items), "--url", stack.url]
        refused = subprocess.run(program, env=elsewhere, capture_output=True, text=True, check=False, timeout=120)
        assert refused.returncode == 1
        told = "its certificate is not trusted: name the file of who signed it in SSL_CERT_FILE"
        assert told in " ".join((refused.stdout + refused.stderr).split())
        assert "Traceback" not in refused.stderr
