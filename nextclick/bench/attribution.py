"""What attribution costs and holds: pages and clicks a second that one worker counts, its processor time by event and
idle, and how old a figure is.

    python -m nextclick.bench.attribution [--seconds 20] [--pages 2000] [--clicks 500]

The flow is a process of its own beside a Redis. First it catches up with what the log holds; then events come at the
rates given, while one page and click of a scenario of their own a second are looked for in the figures. Writes
build/bench/attribution.json.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from contracts.settings import AttributionOptions, LogSettings, RedisSettings
from eventlog.contract import LogWriter, Record, Topic
from eventlog.open_log import open_writer
from nextclick.bench.ledger import ledger_rows
from nextclick.bench.profiles import cpu_us, running
from nextclick.bench.report import BenchRow, expect_bench, finish
from state.attribution import AttributionStore
from state.embedded import EmbeddedRedis

LOG: Final = LogSettings()
PAGES_A_SESSION, ITEMS, LENGTH = 8, 18_000, 20
TICK_S: Final = 0.1
_GIVE_UP_S: Final = 240.0


class Traffic:
    """Pages of 20 items, 8 a session, a third of them of known users; clicks and purchases of what was shown."""

    def __init__(self) -> None:
        self._draw, self._pages, self._clicks = random.Random(1), 0, 0
        self._recent: list[tuple[str, str, list[str]]] = []

    def page(self, scenario: str = "homepage") -> Record:
        n, draw = self._pages, self._draw
        self._pages += 1
        session = f"s{n // PAGES_A_SESSION}" if draw.random() < 0.9 else f"s{draw.randrange(n // PAGES_A_SESSION + 1)}"
        items = [f"i{draw.randrange(ITEMS)}" for _ in range(LENGTH)]
        self._recent = [*self._recent[-500:], (session, f"r{n}", items)]
        user = {"user_id": f"u{n // PAGES_A_SESSION % 5000}"} if n // PAGES_A_SESSION % 3 == 0 else {}
        context = {"scenario": scenario, "version": 1, "model": "m", "rung": "session", "device": "phone"}
        page = {"event_id": f"impression-r{n}", "request_id": f"r{n}", "type": "impression", "items": items}
        return self._record(session, page, {**user, "context": context | {"margins": [0.3] * LENGTH}})

    def click(self) -> Record:
        self._clicks += 1
        session, request_id, items = self._draw.choice(self._recent)
        kind = self._draw.choices(["view", "cart", "purchase"], [8, 1, 1])[0]
        money = {"value": 19.9, "currency": "EUR"} if kind == "purchase" else {}
        named = {"request_id": request_id} if self._clicks % 2 else {}
        event = {"event_id": f"e{self._clicks}", "type": kind, "item_id": self._draw.choice(items)}
        return self._record(session, event, {**named, **money})

    def _record(self, session: str, *fields: Mapping[str, object]) -> Record:
        event: dict[str, object] = {"v": 1, "session_id": session, "ts": time.time_ns() // 1_000_000}
        for one in fields:
            event |= one
        return Record(session, orjson.dumps(event))


class Bench:
    """One Redis with a log, and what the flow has counted of it."""

    def __init__(self, redis: RedisSettings) -> None:
        options = AttributionOptions()
        self.traffic, self.writer = Traffic(), open_writer(LOG, redis)
        self.store = AttributionStore(redis, unit_ms=options.unit_ms, max_cells=options.max_cells)
        self.appended = 0

    def append(self, pages: int, clicks: int) -> None:
        _append(self.writer, Topic.IMPRESSIONS, [self.traffic.page() for _ in range(pages)])
        _append(self.writer, Topic.CLICKS, [self.traffic.click() for _ in range(clicks)])
        self.appended += pages + clicks

    def counted(self) -> int:
        return sum(self.store.ledger(0, 0).offsets.values())

    def wait(self) -> float:
        """Return how many seconds it took until everything was counted."""
        began = time.monotonic()
        while self.counted() < self.appended:
            if time.monotonic() - began > _GIVE_UP_S:
                raise RuntimeError(f"{self.appended - self.counted():,} events were not counted in {_GIVE_UP_S:.0f} s")
            time.sleep(0.01)
        return time.monotonic() - began


def _append(writer: LogWriter, topic: Topic, records: list[Record]) -> None:
    for start in range(0, len(records), 500):
        writer.append(topic, records[start : start + 500])


def measured(seconds: float, pages: int, clicks: int) -> Iterator[BenchRow]:
    """Yield what a worker holds: catching up, at the rates given, and idle."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        redis = RedisSettings(url=server.url, timeout_ms=60_000)
        bench = Bench(redis)
        environment = {**os.environ, "NEXTCLICK_REDIS__URL": server.url, "NEXTCLICK_REDIS__TIMEOUT_MS": "60000"}
        bench.append(200, 50)
        with running("attribution", environment) as pid:
            bench.wait()
            time.sleep(2)
            yield from _catching_up(bench, pid, int(pages * seconds / 2), int(clicks * seconds / 2))
            yield from _at_rates(bench, pid, seconds, pages, clicks)
            time.sleep(3)
            before = cpu_us(pid)
            time.sleep(5)
            yield BenchRow("attribution flow, idle, a second", (cpu_us(pid) - before) / 5, "us")


def _catching_up(bench: Bench, pid: int, pages: int, clicks: int) -> Iterator[BenchRow]:
    """Whole runs are appended while the flow reads: the time counts from the first append."""
    before, began = cpu_us(pid), time.monotonic()
    bench.append(pages, clicks)
    bench.wait()
    took_s, spent = time.monotonic() - began, cpu_us(pid) - before
    yield BenchRow("catching up: events (four pages to a click)", (pages + clicks) / took_s, "a second")
    yield BenchRow("catching up: processor time of the flow by event", spent / (pages + clicks), "us")


def _at_rates(bench: Bench, pid: int, seconds: float, pages: int, clicks: int) -> Iterator[BenchRow]:
    """At steady rates: how old a figure is when it shows an event, looked at every tick."""
    ages: list[float] = []
    before, began = cpu_us(pid), time.monotonic()
    ticks, waiting = int(seconds / TICK_S), list[tuple[float, int]]()
    for tick in range(ticks):
        time.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
        bench.append(int(pages * TICK_S), int(clicks * TICK_S))
        waiting.append((time.monotonic(), bench.appended))
        counted = bench.counted()
        while waiting and counted >= waiting[0][1]:
            ages.append(time.monotonic() - waiting.pop(0)[0])
    took_s = time.monotonic() - began
    behind_s, spent = bench.wait(), cpu_us(pid) - before
    now = time.monotonic()
    ages += [now - since for since, _ in waiting]
    yield BenchRow("at a steady rate: pages", ticks * int(pages * TICK_S) / took_s, "a second")
    yield BenchRow("at a steady rate: clicks", ticks * int(clicks * TICK_S) / took_s, "a second")
    yield BenchRow("at a steady rate: processor time of the flow", spent / 1e4 / took_s, "% of a core")
    yield BenchRow("age of a figure, median", float(np.median(ages)), "s")
    yield BenchRow("age of a figure, at most", max(ages), "s")
    yield BenchRow("left behind at the end", behind_s, "s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.attribution", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--clicks", type=int, default=500)
    options = parser.parse_args()
    expect_bench("attribution")
    rows = [
        *measured(options.seconds, options.pages, options.clicks),
        *ledger_rows(int(options.seconds * options.pages)),
    ]
    finish("attribution", rows, "make bench-attribution")


if __name__ == "__main__":
    main()
