"""`python -m gateway`: one port, several processes, and an end that finishes what was taken."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from state.ports import free_port
from tests.gateway.conftest import event
from tests.gateway.test_events import logged


@contextmanager
def gateway(redis: RedisSettings, processes: int, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_GATEWAY__PORT": str(port),
        "NEXTCLICK_GATEWAY__PROCESSES": str(processes),
    }
    running = subprocess.Popen([*command, sys.executable, "-m", "gateway"], env=environment)
    try:
        until = time.monotonic() + 120
        while status(port, "/readyz") != 200:
            assert time.monotonic() < until
            assert running.poll() is None
            time.sleep(0.05)
        yield running, port
    finally:
        running.kill()
        running.wait()


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def send(port: int, event_id: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps(event(event_id))
        connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_it_serves_until_sigterm_and_what_it_took_is_in_the_log(redis_settings: RedisSettings, processes: int) -> None:
    with gateway(redis_settings, processes) as (running, port):
        assert [send(port, f"e-{n}") for n in range(10)] == [202] * 10
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=120) == 0
        assert status(port, "/healthz") == 0
    found = {document["event_id"] for document in logged(redis_settings, Topic.CLICKS, LogSettings())}
    assert found == {f"e-{n}" for n in range(10)}


@pytest.mark.slow
def test_workers_end_when_their_parent_was_killed(redis_settings: RedisSettings) -> None:
    with gateway(redis_settings, 2) as (running, port):
        running.kill()
        until = time.monotonic() + 60
        while status(port, "/healthz") != 0:
            assert time.monotonic() < until
            time.sleep(0.1)


def second(redis: RedisSettings, port: int, prefix: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": prefix,
        "NEXTCLICK_GATEWAY__PORT": str(port),
    }
    command = [sys.executable, "-m", "gateway"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_gateway_of_another_deployment_does_not_join_a_port(redis_settings: RedisSettings) -> None:
    with gateway(redis_settings, 1) as (_, port):
        other = second(redis_settings, port, "another")
        _, said = other.communicate(timeout=60)
        assert other.returncode == 78
        assert f"127.0.0.1:{port}: expected a free port, or one of this deployment" in said
        assert "Traceback" not in said
        same = second(redis_settings, port, redis_settings.prefix)
        try:
            time.sleep(5)
            assert same.poll() is None
        finally:
            same.kill()
            same.communicate()
