"""The quality flow on a real Redis: killed at any moment, counts are those of the log; bots are flagged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from contracts.errors import StateConflict
from contracts.ids import item_key
from contracts.keys import CATALOGUE, Keys
from contracts.settings import LogSettings, QualityOptions, RedisSettings
from eventlog.contract import Batch, Message, Record, Topic
from eventlog.open_log import open_writer
from flows.quality_steps import KnownItems, QualityPath, decode_records
from quality.checks import hours_before
from quality.recorded import counted
from quality.tally import Tally, TallyRules
from state.client import connect
from state.quality import BotSessions, QualityStore, read_quality
from state.tables import TableReader

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=2, kept_records=1_000_000)
NOW = time.time_ns() // 1_000_000 - 60_000
OPTIONS = QualityOptions()
RULES = TallyRules.of(OPTIONS, 1_800_000)


def records(count: int) -> list[Record]:
    """Clicks of many sessions; one in 50 is no JSON, and the last 100 are one session's within a second."""
    found = []
    for n in range(count):
        session = "fast" if n >= count - 100 else f"s{n % 97}"
        value = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": session, "item_id": f"i{n % 40}"}
        ts = NOW + (count - 100 if session == "fast" else n)
        found.append(Record(session, b"{" if n % 50 == 7 else orjson.dumps({**value, "ts": ts})))
    return found


@contextmanager
def running(redis: RedisSettings) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        **{f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in LOG.model_dump().items()},
        "NEXTCLICK_FLOW__BATCH_RECORDS": "20",
    }
    command = [sys.executable, "-m", "bytewax.run", "flows.quality:flow"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def append(redis: RedisSettings, some: list[Record]) -> None:
    writer = open_writer(LOG, redis)
    writer.append(Topic.CLICKS, some)
    writer.close()


def cells(redis: RedisSettings) -> Counter[str]:
    """Return what was counted, by name."""
    found, _ = read_quality(redis, hours_before(NOW // 60_000 + 10), 0)
    by_name = Counter[str]()
    for (_, name), count in found.items():
        by_name[name] += count
    return by_name


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.02)


@pytest.mark.slow
def test_counts_are_those_of_the_log_after_a_kill_and_a_second_worker(redis_settings: RedisSettings) -> None:
    wanted = records(1500)
    append(redis_settings, wanted[:700])
    with running(redis_settings) as process:
        wait_for(lambda: cells(redis_settings)["records"] > 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
    append(redis_settings, wanted[700:])
    with running(redis_settings), running(redis_settings):
        wait_for(lambda: cells(redis_settings)["records"] >= len(wanted))
    found = cells(redis_settings)
    assert found["records"] == 1500
    assert found["broken"] == 30
    assert found["type.view"] == found["clicks"] == found["events"] == 1470
    assert found["duplicate"] == 0
    assert found["unknown"] == 1470  # nobody loaded a catalogue


def open_store(redis: RedisSettings, max_cells: int = 1000) -> QualityStore:
    return QualityStore(redis, max_cells=max_cells, max_bots=100, bots_keep_ms=OPTIONS.bots_keep_ms)


def open_path(redis: RedisSettings, store: QualityStore) -> QualityPath:
    known = KnownItems(TableReader(redis, CATALOGUE).holds, lambda: NOW)
    return QualityPath(store=store, writer=lambda: open_writer(LOG, redis), tally=Tally(RULES), known=known)


def batch(some: list[Record], start: int = 0) -> Batch:
    messages = [Message(start + n, record.value) for n, record in enumerate(some)]
    return Batch(Topic.CLICKS, 0, start, start + len(some), messages)


def test_bots_are_flagged_and_told_to_those_who_leave_them_out(redis_settings: RedisSettings) -> None:
    store = open_store(redis_settings)
    path = open_path(redis_settings, store)
    clock_s = [0.0]
    bots = BotSessions(redis_settings, OPTIONS.bots_keep_ms, lambda: NOW, lambda: clock_s[0])
    assert bots() == frozenset()
    path.apply(decode_records(batch(records(400)), now_ms=NOW + 60_000, max_future_ms=0))
    assert bots() == frozenset()  # asked every five seconds
    clock_s[0] = 6.0
    assert bots() == {"fast"}
    was = bots()
    clock_s[0] = 12.0
    assert bots() is was
    later = BotSessions(redis_settings, OPTIONS.bots_keep_ms, lambda: NOW + 2 * OPTIONS.bots_keep_ms)
    assert later() == frozenset()
    store.close()


def test_a_batch_counts_once_and_one_out_of_place_is_refused(redis_settings: RedisSettings) -> None:
    store = open_store(redis_settings)
    path, other = open_path(redis_settings, store), open_path(redis_settings, store)
    first = decode_records(batch(records(150)[:40]), now_ms=NOW + 60_000, max_future_ms=0)
    path.apply(first)
    with pytest.raises(StateConflict):
        other.apply(first)
    with pytest.raises(StateConflict):
        path.apply(first)
    assert cells(redis_settings)["records"] == 40
    assert cells(redis_settings)["duplicate"] == 0
    path.apply(decode_records(batch(records(150)[:40], 40), now_ms=NOW + 60_000, max_future_ms=0))
    assert cells(redis_settings)["records"] == 80
    store.close()


def test_clicks_on_items_that_the_catalogue_has_are_known(redis_settings: RedisSettings) -> None:
    client = connect(redis_settings)
    client.hset(Keys(redis_settings.prefix).table_rows(CATALOGUE), item_key("i1").to_bytes(8, "little"), b"{}")  # type: ignore[arg-type]
    client.close()
    store = open_store(redis_settings)
    path = open_path(redis_settings, store)
    path.apply(decode_records(batch(records(180)[:80]), now_ms=NOW + 60_000, max_future_ms=0))
    assert cells(redis_settings)["clicks"] == 78
    assert cells(redis_settings)["unknown"] == 76
    store.close()


def test_counters_of_an_hour_are_bounded_and_damage_is_written_over(redis_settings: RedisSettings) -> None:
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    hour = NOW // 3_600_000
    client.set(keys.quality_cells(hour), "text")
    client.set(keys.quality_bots(), "text")
    client.set(keys.quality_progress(), "text")
    store = open_store(redis_settings, max_cells=3)
    open_path(redis_settings, store).apply(
        decode_records(batch(records(200)[:80]), now_ms=NOW + 60_000, max_future_ms=0)
    )
    assert sum(client.hlen(keys.quality_cells(one)) for one in (hour, hour + 1)) <= 6
    assert int(client.hget(keys.quality_progress(), "left_out")) > 0  # type: ignore[arg-type]
    assert client.pttl(keys.quality_cells(hour)) > 86_400_000
    client.hset(keys.quality_cells(hour), mapping={"x": "1", "99:records": "5", "5:records": "many", "3:": "1"})
    assert sum(cells(redis_settings).values()) > 0
    store.close()
    client.close()


def test_the_flow_counts_as_a_recording_is_counted(redis_settings: RedisSettings) -> None:
    some = records(300)
    decoded = decode_records(batch(some), now_ms=NOW + 60_000, max_future_ms=0)
    store = open_store(redis_settings)
    open_path(redis_settings, store).apply(decoded)
    alone = counted(decoded.records, RULES, NOW, set())
    found, bots = read_quality(redis_settings, hours_before(NOW // 60_000 + 10), 0)
    assert found == {cell: count for cell, count in alone.cells.items() if count}
    assert bots == len(alone.bots) == 1
    store.close()
