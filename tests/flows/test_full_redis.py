"""A Redis at its maxmemory while Kafka is the log: what is appended is taken, and the flows wait with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from contracts.items import ItemPut, encode_change, item_of
from contracts.keys import CATALOGUE, TRENDS
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from state.embedded import EmbeddedRedis
from state.tables import TableReader
from tests.flows.test_sessions_flow import ROOT, counted, record
from tests.processes import wait_for

FLOWS = ("sessions", "items", "trends", "profiles")


def append(log: LogSettings, settings: RedisSettings, first: int, item_id: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    with closing(open_writer(log, settings)) as writer:
        writer.append(Topic.CLICKS, [record(n, now_ms + n) for n in range(first, first + 100)])
        change = ItemPut(item_id=item_id, item=item_of({"title": item_id}))
        writer.append(Topic.ITEMS, [Record(item_id, encode_change(change))])


def start_flow(
    name: str, log: LogSettings, server: EmbeddedRedis, folder: Path, ending: ExitStack
) -> subprocess.Popen[bytes]:
    kafka = {f"NEXTCLICK_LOG__{key.upper()}": str(value) for key, value in log.model_dump().items()}
    own = {"NEXTCLICK_REDIS__URL": server.url, "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "9"}
    said = ending.enter_context((folder / name).open("wb"))
    command = [sys.executable, "-m", "bytewax.run", f"flows.{name}:flow"]
    process = subprocess.Popen(command, env={**os.environ, **kafka, **own}, cwd=ROOT, stdout=said, stderr=said)
    ending.callback(process.wait)
    ending.callback(process.kill)
    return process


@pytest.mark.kafka
@pytest.mark.slow
def test_flows_wait_while_redis_is_full_and_go_on_with_all_that_came_meanwhile(
    tmp_path: Path, kafka_log_settings: LogSettings
) -> None:
    log = kafka_log_settings
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client, ExitStack() as ending:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        append(log, settings, 0, "before")
        processes = {name: start_flow(name, log, server, tmp_path, ending) for name in FLOWS}
        items, trends = TableReader(settings, CATALOGUE), TableReader(settings, TRENDS)
        wait_for(lambda: counted(settings).get("applied", 0) == 100 and items.size() == 1 and trends.size() == 7, 120)
        client.config_set("maxmemory", "1")
        append(log, settings, 100, "meanwhile")
        wait_for(lambda: all("waiting: " in (tmp_path / name).read_text() for name in FLOWS), 120)
        time.sleep(2)
        assert {name: process.poll() for name, process in processes.items()} == dict.fromkeys(FLOWS)
        client.config_set("maxmemory", "0")
        wait_for(lambda: counted(settings).get("applied", 0) == 200 and items.size() == 2, 120)
        wait_for(lambda: all("going on after" in (tmp_path / name).read_text() for name in FLOWS), 120)
        for name in FLOWS:
            said = (tmp_path / name).read_text()
            outage = [line for line in said.splitlines() if " nextclick.flows: " in line]
            assert len(outage) == 2, said
            begins, ends = outage
            assert "waiting: " in begins
            assert "OOM: it is at its maxmemory" in begins
            assert "going on after " in ends


@pytest.mark.kafka
@pytest.mark.slow
def test_a_redis_that_was_emptied_is_filled_again_from_kafka_without_a_new_record(
    tmp_path: Path, kafka_log_settings: LogSettings
) -> None:
    log = kafka_log_settings
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client, ExitStack() as ending:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        append(log, settings, 0, "before")
        for name in ("sessions", "items"):
            start_flow(name, log, server, tmp_path, ending)
        items = TableReader(settings, CATALOGUE)
        wait_for(lambda: counted(settings).get("applied", 0) == 100 and items.size() == 1, 120)
        time.sleep(1)
        client.flushall()
        began = time.monotonic()
        wait_for(lambda: counted(settings).get("applied", 0) == 100 and items.size() == 1, 120)
        assert time.monotonic() - began < 60
    for name in ("sessions", "items"):
        assert "Redis was emptied, or restored from older files" in (tmp_path / name).read_text()
