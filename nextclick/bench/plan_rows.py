"""What the rows of the trends table cost: who writes them, Redis, and each gateway process that follows them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from contracts.codec import ItemTrend, encode_trend
from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from gateway.replicas import into_trends
from nextclick.bench.accounting import parse_stat
from nextclick.bench.click_posts import post
from nextclick.bench.click_stack import running_clicks
from nextclick.bench.clicks import ARRAY, ARRAYS_A_SECOND, CLICKS_A_SESSION, Load
from nextclick.bench.report import BenchRow
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules
from state.async_tables import AsyncTableReader
from state.change_arrays import ChangeArrays
from state.embedded import EmbeddedRedis
from state.tables import TableReader, TableWriter

ROWS: Final = 20_000
HELD: Final = 100_000
"""Rows that a follower holds: more than a processor's caches do."""
TOGETHER: Final = 500
READERS: Final = 10
KEPT_RUNS: Final = 4
FEW: Final = 100.0
"""Clicks a second that move hardly a row twice within `trend.emit_interval_ms`."""
SETTLE_S: Final = 3.0
READ_TOGETHER: Final = TOGETHER
"""Rows that a follower finds at once: the flow writes so many in one script."""


def row_rows(seconds: float) -> list[BenchRow]:
    """Return the rows that a click moves; of Redis, a row written and a row read by one follower; of a gateway process,
    a row read and taken into its arrays, from Redis and by a relay; of a relay, a row read and kept.
    """
    rows, alone = _clicked(seconds)
    costs = rows_alone()
    return [
        BenchRow("trends: rows moved by a click, 2,000/s", rows, "rows"),
        BenchRow("trends: rows moved by a click, 100/s", alone, "rows"),
        BenchRow("trends: a row followed, gateway", costs.followed, "us"),
        BenchRow("trends: a row followed by a relay, gateway", costs.followed_by_relay, "us"),
        BenchRow("trends: a row kept by a relay", costs.kept, "us"),
        BenchRow("trends: a row written, Redis", costs.written, "us"),
        BenchRow("trends: a row read by one follower, Redis", costs.read, "us"),
    ]


def _clicked(seconds: float) -> tuple[float, float]:
    """Return rows by click of clicks in arrays at a steady rate; and of few clicks, which seldom move a row twice
    within the interval at which it is written.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name,
        running_clicks(Path(name), None, trends=True) as stack,
    ):
        load, table = Load(stack), TableReader(stack.redis, TRENDS)
        load.arrays(2.0)
        before = table.end()
        load.arrays(seconds)
        rows = (table.end() - before) / clicks_of(seconds)
        before, few = table.end(), list(visits(stack.items))
        post(stack.port, few, FEW, connections=4)
        time.sleep(SETTLE_S)
        alone = (table.end() - before) / len(few)
        table.close()
    return rows, alone


def visits(items: Sequence[str]) -> Iterator[bytes]:
    """Yield the clicks of visits of six clicks on as many items, as many visits at a time as clicks a second: each
    clicks once a second, so that no row waits for another click of the same visit.
    """
    random = np.random.default_rng(11)
    now_ms = time.time_ns() // 1_000_000
    for number in range(int(2 * FEW * CLICKS_A_SESSION)):
        visit = f"r{number % int(FEW)}-{number // int(FEW * CLICKS_A_SESSION)}"
        event = {"v": 1, "event_id": f"r{number}", "type": "view", "session_id": visit, "ts": now_ms}
        yield orjson.dumps(event | {"item_id": items[int(random.integers(len(items)))]})


def clicks_of(seconds: float) -> float:
    """Return how many clicks `Load.arrays` sends in so many seconds."""
    return max(1, int(seconds * ARRAYS_A_SECOND)) * ARRAY


@dataclass(frozen=True, slots=True)
class RowCosts:
    """Microseconds of a full row: written and read (Redis), followed (a gateway), kept (a relay)."""

    written: float
    read: float
    followed: float
    followed_by_relay: float
    kept: float


def rows_alone() -> RowCosts:
    """Measure a row with nothing else. Of the followers the fastest counts: others on the machine slow them."""
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name:
        server = EmbeddedRedis(Path(name))
        server.start()
        try:
            assert server.process is not None
            redis, pid = RedisSettings(url=server.url), server.process.pid
            written, columns = _written(redis, pid), full_columns()
            before = cpu_s(pid)
            taken = min(asyncio.run(followed(redis, columns)) for _ in range(READERS))
            read = cpu_s(pid) - before
            with running_relay(redis, f"{name}/relay.sock") as relay:
                kept = min(_kept(redis, pid, relay) for _ in range(KEPT_RUNS))
                path, last = (
                    f"{name}/relay.sock",
                    KEPT_RUNS * ROWS,
                )  # of the last run: the first ROWS were written before
                by_relay = min(asyncio.run(followed(redis, columns, path, last)) for _ in range(READERS))
        finally:
            server.stop()
    a_row = 1e6 / ROWS
    return RowCosts(a_row * written, a_row * read / READERS, a_row * taken, a_row * by_relay, a_row * kept)


def _kept(redis: RedisSettings, pid: int, relay: int) -> float:
    """Write rows; return the processor seconds of the relay."""
    before = cpu_s(relay)
    _written(redis, pid)
    time.sleep(SETTLE_S)
    return cpu_s(relay) - before


def _written(redis: RedisSettings, pid: int) -> float:
    """Write full rows; return the processor seconds of Redis."""
    table, row, before = TableWriter(redis, TRENDS), full_trend(), cpu_s(pid)
    for start in range(0, ROWS, TOGETHER):
        table.commit({number.to_bytes(8, "little"): row for number in range(start, start + TOGETHER)})
    table.close()
    return cpu_s(pid) - before


@contextmanager
def running_relay(redis: RedisSettings, path: str) -> Iterator[int]:
    """Run a relay; yields its process id."""
    env = {**os.environ, "NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_RELAY__SOCKET": path}
    process = subprocess.Popen([sys.executable, "-m", "state.relay"], env=env)
    try:
        while not Path(path).exists():
            time.sleep(0.01)
        time.sleep(1.0)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def followed(redis: RedisSettings, columns: TrendColumns, relay: str = "", at: int = 0) -> float:
    """Return the processor seconds of reading the changes of the table from number `at` on and taking them into a
    gateway's arrays.
    """
    take, reader = into_trends(columns), AsyncTableReader(redis, TRENDS, relay)
    await reader.begin()
    began = time.thread_time()
    read = reader.arrays if relay else partial(reader.arrays, count=READ_TOGETHER)  # a relay reads as gateways do
    while len(changes := await read(at)):
        assert isinstance(changes, ChangeArrays)
        take(changes)
        at = changes.number + len(changes)
    spent = time.thread_time() - began
    await reader.close()
    return spent


def full_columns() -> TrendColumns:
    """Return a gateway's arrays of full rows, among them those that are followed, as a shop's are: anywhere."""
    columns, row = TrendColumns(TrendRules()), full_trend()
    keys = np.random.default_rng(7).permutation(HELD).tolist()
    for start in range(0, HELD, TOGETHER):
        columns.apply_rows([(key, row) for key in keys[start : start + TOGETHER]])
    return columns


def full_trend() -> bytes:
    """Return the row of an item that is clicked with as many others as are handed on."""
    count = TrendRules().neighbours
    neighbours, weights = np.arange(count, dtype=np.uint64), np.ones((count, 3), np.float32)
    return encode_trend(ItemTrend(0, 1.0, 1.0, 1.0, neighbours, weights))


def cpu_s(pid: int) -> float:
    return parse_stat(Path(f"/proc/{pid}/stat").read_text()).cpu_s
