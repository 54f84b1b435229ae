"""What the rows of the trends table cost: who writes them, Redis, and each gateway process that follows them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
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
from state.change_arrays import ChangeArrays
from state.embedded import EmbeddedRedis
from state.tables import AsyncTableReader, TableReader, TableWriter

ROWS: Final = 20_000
HELD: Final = 100_000
"""Rows that a follower holds: more than a processor's caches do."""
TOGETHER: Final = 500
READERS: Final = 10
FEW: Final = 100.0
"""Clicks a second that move hardly a row twice within `trend.emit_interval_ms`."""
SETTLE_S: Final = 3.0
READ_TOGETHER: Final = TOGETHER
"""Rows that a follower finds at once: the flow writes so many in one script."""


def row_rows(seconds: float) -> list[BenchRow]:
    """Return the rows that a click moves; of Redis, a row written and a row read by one follower; of a gateway process,
    a row read and taken into its arrays.
    """
    rows, alone = _clicked(seconds)
    written, read, followed = rows_alone()
    return [
        BenchRow("trends: rows moved by a click, 2,000/s", rows, "rows"),
        BenchRow("trends: rows moved by a click, 100/s", alone, "rows"),
        BenchRow("trends: a row followed, gateway", followed, "us"),
        BenchRow("trends: a row written, Redis", written, "us"),
        BenchRow("trends: a row read by one follower, Redis", read, "us"),
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


def rows_alone() -> tuple[float, float, float]:
    """Return microseconds of Redis for a row written and for one read, and of a follower for one read and taken, with
    nothing else. Rows are full ones. Of the followers the fastest counts: others on the machine slow them.
    """
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name:
        server = EmbeddedRedis(Path(name))
        server.start()
        try:
            assert server.process is not None
            redis, pid = RedisSettings(url=server.url), server.process.pid
            table, row = TableWriter(redis, "plan", kept_changes=10 * ROWS), full_trend()
            before = _cpu_s(pid)
            for start in range(0, ROWS, TOGETHER):
                table.commit({number.to_bytes(8, "little"): row for number in range(start, start + TOGETHER)})
            written = _cpu_s(pid) - before
            table.close()
            before = _cpu_s(pid)
            columns = full_columns()
            taken = min(asyncio.run(followed(redis, columns)) for _ in range(READERS))
            read = _cpu_s(pid) - before
        finally:
            server.stop()
    return 1e6 * written / ROWS, 1e6 * read / (READERS * ROWS), 1e6 * taken / ROWS


async def followed(redis: RedisSettings, columns: TrendColumns) -> float:
    """Return the processor seconds of reading all changes of the table and taking them into a gateway's arrays."""
    take, reader = into_trends(columns), AsyncTableReader(redis, "plan")
    at, began = 0, time.thread_time()
    while len(changes := await reader.arrays(at, count=READ_TOGETHER)):
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


def _cpu_s(pid: int) -> float:
    return parse_stat(Path(f"/proc/{pid}/stat").read_text()).cpu_s
