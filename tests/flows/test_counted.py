"""Each process of a flow counts the dead letters that it writes by reason, on a `/metrics` of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import prometheus_client
import pytest

from contracts import observed
from contracts.errors import SettingsError
from contracts.observed import MetricsOptions
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from flows.counted import serve
from flows.settings import FlowOptions, FlowSettings
from state.ports import free_port

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=4)
NOW_MS = time.time_ns() // 1_000_000


@contextmanager
def running(flow: str, redis_settings: RedisSettings, port: int) -> Iterator[None]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        "NEXTCLICK_LOG__PARTITIONS": "4",
        "NEXTCLICK_FLOW__METRICS_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "bytewax.run", f"flows.{flow}:flow"], env=env, cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def expect_shown(port: int, line: str) -> None:
    until, text = time.monotonic() + 120, ""
    while line not in text:
        assert time.monotonic() < until, text
        time.sleep(0.1)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                text = answer.read().decode()
        except OSError:
            continue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "topic", "raw", "reason"),
    [
        ("sessions", Topic.CLICKS, b"{", "not_json"),
        ("items", Topic.ITEMS, orjson.dumps({"op": "stock", "item_id": "nothing", "stock": 1}), "unknown_item"),
        ("trends", Topic.IMPRESSIONS, b'{"v":9}', "unknown_version"),
    ],
)
def test_a_flow_shows_how_many_letters_it_wrote_by_reason(
    redis_settings: RedisSettings, flow: str, topic: Topic, raw: bytes, reason: str
) -> None:
    writer, port = open_writer(LOG, redis_settings), free_port()
    writer.append(topic, [Record("a", raw), Record("b", raw)])
    writer.close()
    with running(flow, redis_settings, port):
        expect_shown(port, f'nextclick_flow_dead_letters_total{{flow="{flow}",reason="{reason}"}} 2.0')
        expect_shown(port, f'nextclick_flow_records_read_total{{topic="{topic}"}} 2.0')
        expect_shown(port, f'nextclick_process_info{{process="{flow}"}} 1.0')


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of its own, as every process has one."""
    monkeypatch.setattr(observed, "_served", [])
    monkeypatch.setattr(prometheus_client, "REGISTRY", prometheus_client.CollectorRegistry())


@pytest.mark.usefixtures("registry")
def test_processes_of_one_machine_take_one_port_after_the_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = serve("sessions", FlowSettings(flow=FlowOptions(metrics_port=port)))
        assert serve("trends", FlowSettings(metrics=MetricsOptions(port=port))) == found  # the same process
    assert found is not None
    assert port < found < port + 64


@pytest.mark.usefixtures("registry")
def test_a_flow_listens_where_all_processes_do_unless_flows_have_a_port_of_their_own() -> None:
    port, other = free_port(), free_port()
    settings = FlowSettings(metrics=MetricsOptions(port=port), flow=FlowOptions(metrics_port=other))
    assert serve("sessions", settings) == other


def test_no_port_is_served_unless_one_is_set() -> None:
    assert serve("sessions", FlowSettings()) is None


def test_an_address_that_is_not_ours_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"NEXTCLICK_FLOW__METRICS_HOST: expected a port .* from 192\.0\.2\.1:9400"):
        serve("sessions", FlowSettings(flow=FlowOptions(metrics_port=9400, metrics_host="192.0.2.1")))
    with pytest.raises(SettingsError, match=r"NEXTCLICK_METRICS__PORT, NEXTCLICK_METRICS__HOST: expected a port "):
        serve("sessions", FlowSettings(metrics=MetricsOptions(port=9400, host="192.0.2.1")))
