"""Keys and real processes: followed by each, and never in a log or in the list of processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from state.ports import free_port
from tests.gateway.api_keys import PAGE, bearer, make_key, revoke_key
from tests.gateway.conftest import event
from tests.processes import wait_for


@contextmanager
def gateways(redis: RedisSettings, count: int, log: Path) -> Iterator[list[int]]:
    """Run gateways that ask for keys, each on a port of its own so that each can be asked; yields the ports."""
    ports = [free_port() for _ in range(count)]
    processes = []
    with log.open("wb") as said:
        for port in ports:
            environment = {
                **os.environ,
                "NEXTCLICK_REDIS__URL": redis.url,
                "NEXTCLICK_REDIS__PREFIX": redis.prefix,
                "NEXTCLICK_GATEWAY__PORT": str(port),
                "NEXTCLICK_GATEWAY__KEYS": "required",
            }
            processes.append(subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stderr=said))
        try:
            for port in ports:
                wait_for(lambda port=port: ask(port, "GET", "/readyz")[0] == 200, 120)  # type: ignore[misc]
            yield ports
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(60)


def ask(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        raw = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def wait_until_answered(ports: list[int], text: str, status: int) -> None:
    """Return once every process answers a key with a status."""
    for port in ports:
        wait_for(lambda port=port: ask(port, "POST", "/api/events", event("e-1"), bearer(text))[0] == status)  # type: ignore[misc]


@pytest.mark.slow
def test_every_process_sees_a_key_and_its_end_without_a_restart(redis_settings: RedisSettings, tmp_path: Path) -> None:
    with gateways(redis_settings, 2, tmp_path / "log") as ports:
        key, other = make_key(redis_settings, "events"), make_key(redis_settings, "events")
        wait_until_answered(ports, other.text, 202)
        wait_until_answered(ports, key.text, 202)
        revoke_key(redis_settings, key.key.id)
        wait_until_answered(ports, key.text, 401)
        for port in ports:
            assert ask(port, "POST", "/api/events", event("e-2"), bearer(other.text))[0] == 202


@pytest.mark.slow
def test_a_key_is_in_no_log_and_no_list_of_processes(redis_settings: RedisSettings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    secret, public = make_key(redis_settings, "catalogue"), make_key(redis_settings, "events", origins=[PAGE])
    with gateways(redis_settings, 1, log) as [port]:
        wait_until_answered([port], secret.text, 403)
        for path, body, headers in (
            (f"/api/events?key={public.text}", event("e-1"), {"Origin": PAGE}),
            (f"/api/events?key={secret.text}", "{", {}),
            (f"/nothing?key={secret.text}", "{", {}),
            ("/api/stock", "{", bearer(secret.text)),
            ("/api/stock", [], {"Authorization": f"Bearer {secret.text} {secret.text}"}),
            ("/api/stock", [], {"Authorization": f"Basic {secret.text}", "X-Odd": secret.text}),
        ):
            _, said = ask(port, "POST", path, body, headers)
            assert secret.text[21:] not in said
            assert public.text[21:] not in said
        broken = f"POST /api/stock?key={public.text} HTTP/1.1\r\nAuthorization: Bearer {secret.text}\x01\r\n\r\n"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        connection.sock.sendall(broken.encode())
        connection.sock.close()
        commands = b"".join(command_lines())
        assert secret.text[21:].encode() not in commands
    said = log.read_text()
    assert secret.text[21:] not in said
    assert public.text[21:] not in said


def command_lines() -> Iterator[bytes]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_does_not_listen_where_others_reach_it_without_a_key(redis_settings: RedisSettings, host: str) -> None:
    ended = run_until_refused(redis_settings, host)
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert "expected an API key, found none" in line
    assert "nextclick keys create" in line
    assert "NEXTCLICK_GATEWAY__KEYS=open-to-anyone" in line
    assert ended.stdout == ""


@pytest.mark.slow
def test_it_listens_there_with_a_key_and_asks_for_it_or_when_a_setting_says_so(redis_settings: RedisSettings) -> None:
    make_key(redis_settings, "events")
    for more, status in (({}, 401), ({"NEXTCLICK_GATEWAY__KEYS": "open-to-anyone"}, 202)):
        port = free_port()
        running = subprocess.Popen(
            [sys.executable, "-m", "gateway"], env=environment_of(redis_settings, "0.0.0.0", port, more)
        )
        try:
            wait_for(lambda port=port: ask(port, "GET", "/readyz")[0] == 200, 120)  # type: ignore[misc]
            assert ask(port, "POST", "/api/events", event("e-1"))[0] == status
        finally:
            running.kill()
            running.wait()


def run_until_refused(redis: RedisSettings, host: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environment_of(redis, host, free_port(), {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def environment_of(redis: RedisSettings, host: str, port: int, more: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_GATEWAY__HOST": host,
        "NEXTCLICK_GATEWAY__PORT": str(port),
        **more,
    }
