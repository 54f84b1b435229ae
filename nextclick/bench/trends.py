"""Counting in the trends flow, by processor time: clicks and impressions from a log of its own, an embedded Redis.

    python -m nextclick.bench.trends [--items 18000] [--clicks 120000] [--impressions 30000] [--seconds 10]
    python -m nextclick.bench.trends --rebuild [--items 100000]

The flow runs as a process with its recovery store, as in the stack. Each load is measured twice: as a backlog that is
counted as fast as it goes (events a second), and as a stream at a steady rate (processor microseconds an event).

`--rebuild` measures instead how long it takes until the trends are there again: after a Redis that was emptied, from
the flow's own counters, and without those, from the log.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.keys import TRENDS, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from flows.recovery_arguments import SNAPSHOT_S
from flows.trend_recovery import prepare_recovery
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from state.client import connect
from state.embedded import EmbeddedRedis
from state.tables import TableReader

SHOWN = 20
TICKS = os.sysconf("SC_CLK_TCK")
_GIVE_UP_S = 300.0
_SETTLE_S = SNAPSHOT_S + 2.0
"""Longer than an epoch of Bytewax: what was counted has been written and saved."""
_RATES = {"clicks": 200, "impressions": 100}
"""A second, of the steady streams."""
_TARGETS = {"clicks": 40_000.0, "impressions": 5_000.0}
"""A second, of a backlog."""

Float64s = NDArray[np.float64]
Make = Callable[[int, int], list[Record]]
"""Makes so many events from this number on."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sessions of a shop: six clicks each in a neighbourhood of items, a few items far more popular than others."""

    items: int
    sessions: int

    def clicks(self, first: int, count: int) -> list[Record]:
        """Return clicks: a session's are on the dozen items around one of its own."""
        random = np.random.default_rng(first)
        numbers = np.arange(first, first + count)
        homes = self._drawn(np.random.default_rng(7).random(self.sessions))[numbers % self.sessions]
        items = (homes + random.integers(0, 12, count)) % self.items
        return [
            self._event(number, "view", {"item_id": f"item-{item}"})
            for number, item in zip(numbers.tolist(), items.tolist(), strict=True)
        ]

    def impressions(self, first: int, count: int) -> list[Record]:
        """Return impressions of SHOWN items."""
        shown = self._drawn(np.random.default_rng(first).random((count, SHOWN)))  # (count, SHOWN)
        return [
            self._event(10**9 + first + at, "impression", {"items": [f"item-{item}" for item in page]})
            for at, page in enumerate(shown.tolist())
        ]

    def _drawn(self, uniform: Float64s) -> NDArray[np.int64]:
        return (self.items * uniform**3).astype(np.int64)

    def _event(self, number: int, kind: str, fields: dict[str, object]) -> Record:
        session = f"s{number % self.sessions}-{number // (6 * self.sessions)}"
        event = {"v": 1, "event_id": f"e{number}", "type": kind, "session_id": session, "ts": _now_ms()} | fields
        return Record(session, orjson.dumps(event))


@dataclass(slots=True)
class Flow:
    """A trends flow that runs, and the log that it reads."""

    pid: int
    redis: RedisSettings
    log: LogSettings

    def cpu_s(self) -> float:
        """Return the processor time that it has used so far, as the operating system accounts it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def counted(self, topic: Topic, end: int) -> bool:
        """Say whether the flow has taken `end` records of a topic. It tells the log once a second."""
        keys = Keys(self.redis.prefix)
        with connect(self.redis) as client:
            taken = [client.hget(keys.log_groups(topic, p), "trends") for p in range(self.log.partitions)]
        return sum(int(one or 0) for one in taken) >= end

    def wait_for(self, topic: Topic, end: int) -> None:
        until = time.monotonic() + _GIVE_UP_S
        while not self.counted(topic, end):
            if time.monotonic() > until:
                raise TimeoutError(f"expected the flow to have counted {end} {topic} in {_GIVE_UP_S:g} s")
            time.sleep(0.02)


@contextmanager
def running_flow(
    redis: RedisSettings, log: LogSettings, folder: Path, more: Mapping[str, str] | None = None
) -> Iterator[Flow]:
    """Run the trends flow as the stack does, with `more` settings."""
    arguments = [sys.executable, "-m", "bytewax.run", "flows.trends:flow", *prepare_recovery(folder)]
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_LOG__PARTITIONS": str(log.partitions),
        "NEXTCLICK_LOG__KEPT_RECORDS": str(log.kept_records),
        **(more or {}),
    }
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield Flow(process.pid, redis, log)
    finally:
        process.kill()
        process.wait()


def append(redis: RedisSettings, log: LogSettings, topic: Topic, records: Sequence[Record]) -> None:
    writer = open_writer(log, redis)
    for start in range(0, len(records), 5000):
        writer.append(topic, records[start : start + 5000])
    writer.close()


def measure(flow: Flow, topic: Topic, make: Make, backlog: int, seconds: float) -> list[BenchRow]:
    """Return what a backlog and a steady stream of one topic cost."""
    warm = backlog // 10
    append(flow.redis, flow.log, topic, make(0, warm))
    flow.wait_for(topic, warm)
    time.sleep(2)
    records = make(warm, backlog)
    cpu_s, began = flow.cpu_s(), time.monotonic()
    append(flow.redis, flow.log, topic, records)
    flow.wait_for(topic, warm + backlog)
    took_s = time.monotonic() - began
    time.sleep(1)
    rows = [
        BenchRow(f"{topic} counted, backlog", backlog / took_s, "1/s", _TARGETS[topic], "higher"),
        BenchRow(f"processor time, backlog of {topic}", 1e6 * (flow.cpu_s() - cpu_s) / backlog, "us/event"),
    ]
    time.sleep(_SETTLE_S)  # rows of the backlog are written, and a snapshot is made
    return [*rows, _steady(flow, topic, make, warm + backlog, seconds)]


def _steady(flow: Flow, topic: Topic, make: Make, end: int, seconds: float) -> BenchRow:
    rate = _RATES[topic]
    count = int(rate * seconds)
    records, writer = make(end, count), open_writer(flow.log, flow.redis)
    cpu_s, began = flow.cpu_s(), time.monotonic()
    for at, record in enumerate(records):
        time.sleep(max(0.0, began + at / rate - time.monotonic()))
        writer.append(topic, [record])
    writer.close()
    flow.wait_for(topic, end + count)
    return BenchRow(f"processor time, {rate} {topic}/s", 1e6 * (flow.cpu_s() - cpu_s) / count, "us/event")


def idle(flow: Flow, seconds: float) -> BenchRow:
    """Return the share of a core that the flow uses when nothing comes."""
    cpu_s, began = flow.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return BenchRow("idle", 100 * (flow.cpu_s() - cpu_s) / (time.monotonic() - began), "% of a core", 1.0)


def rebuild(redis: RedisSettings, log: LogSettings, folder: Path, items: int) -> list[BenchRow]:
    """Return how long the trends of so many items, of three clicks each, take to be there again."""
    keys, made = Keys(redis.prefix), [_click(number, number % items) for number in range(3 * items)]
    append(redis, log, Topic.CLICKS, made)
    reader = TableReader(redis, TRENDS)
    room = {f"NEXTCLICK_TREND__{name}": str(2 * items) for name in ("MAX_ITEMS", "WAITING")}
    with running_flow(redis, log, folder / "recovery", room) as flow:
        until_size(reader, 1)
        began = time.monotonic()
        flow.wait_for(Topic.CLICKS, 3 * items)
        until_size(reader, items)
        from_log_s = time.monotonic() - began
        with connect(redis) as client:
            names = (keys.table_rows, keys.table_changes, keys.table_end, keys.table_pulse)
            client.delete(*(name(TRENDS) for name in names))
        cpu_s, began = flow.cpu_s(), time.monotonic()
        until_size(reader, items)
        took_s, cpu_s = time.monotonic() - began, flow.cpu_s() - cpu_s
    reader.close()
    return [
        BenchRow("counted from the log", from_log_s / 60 * 1e6 / (3 * items), "min/million clicks"),
        BenchRow("written again after an emptied Redis", took_s / 60 * 1e6 / items, "min/million items"),
        BenchRow("processor time of a row written again", 1e6 * cpu_s / items, "us"),
    ]


def until_size(table: TableReader, rows: int) -> None:
    until = time.monotonic() + _GIVE_UP_S
    while table.size() < rows:
        if time.monotonic() > until:
            raise TimeoutError(f"expected {rows} rows in {_GIVE_UP_S:g} s, got {table.size()}")
        time.sleep(0.02)


def _click(number: int, item: int) -> Record:
    """Return a click of a session of three."""
    session = f"s{number // 3}"
    event = {"v": 1, "event_id": f"e{number}", "type": "view", "session_id": session, "item_id": f"item-{item}"}
    return Record(session, orjson.dumps(event | {"ts": _now_ms()}))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.trends", description=__doc__)
    parser.add_argument("--items", type=int, default=18_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--clicks", type=int, default=120_000)
    parser.add_argument("--impressions", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each steady stream, and of idling")
    parser.add_argument("--rebuild", action="store_true", help="how long the trends take to be there again")
    options = parser.parse_args()
    name = "trends-rebuild" if options.rebuild else "trends"
    expect_bench(name)
    traffic = Traffic(options.items, options.sessions)
    log = LogSettings(kept_records=10**6)
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as made:
        folder = Path(made)
        server = EmbeddedRedis(folder / "redis")
        server.start()
        try:
            redis = RedisSettings(url=server.url)
            rows: list[BenchRow] = []
            if options.rebuild:
                rows = rebuild(redis, log, folder, options.items)
                finish(name, rows, f"python -m nextclick.bench.trends --rebuild --items {options.items}")
                return
            with running_flow(redis, log, folder / "recovery") as flow, console.status("counting clicks") as status:
                rows += measure(flow, Topic.CLICKS, traffic.clicks, options.clicks, options.seconds)
                status.update("counting impressions")
                rows += measure(flow, Topic.IMPRESSIONS, traffic.impressions, options.impressions, options.seconds)
                status.update("idling")
                time.sleep(_SETTLE_S)
                rows.append(idle(flow, options.seconds))
        finally:
            server.stop()
    finish(name, rows, f"python -m nextclick.bench.trends --items {options.items}")


if __name__ == "__main__":
    main()
