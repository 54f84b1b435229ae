"""What the rows of the trends table cost: who writes them, Redis, and each gateway process that follows them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from nextclick.bench.accounting import parse_stat
from nextclick.bench.click_stack import running_clicks
from nextclick.bench.clicks import Load
from nextclick.bench.report import BenchRow
from state.embedded import EmbeddedRedis
from state.tables import TableReader, TableWriter

ROWS: Final = 20_000
TOGETHER: Final = 500
READERS: Final = 10
ROW_BYTES: Final = 1_000


def row_rows(seconds: float) -> list[BenchRow]:
    """Return the rows that a click moves, and processor time a row of a gateway: the same clicks with the trends flow
    and without it; and of Redis alone, a row written and a row read by one follower.
    """
    gateway_without, _ = _clicked(seconds, trends=False)
    gateway_with, rows = _clicked(seconds, trends=True)
    followed = 1e6 * max(0.0, gateway_with - gateway_without) / max(1.0, rows)
    written, read = redis_alone()
    return [
        BenchRow("trends: rows moved by a click", rows, "rows"),
        BenchRow("trends: a row followed, gateway", followed, "us"),
        BenchRow("trends: a row written, Redis", written, "us"),
        BenchRow("trends: a row read by one follower, Redis", read, "us"),
    ]


def _clicked(seconds: float, *, trends: bool) -> tuple[float, float]:
    """Return a gateway's processor seconds by click, and rows by click, of clicks in arrays at a steady rate."""
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name,
        running_clicks(Path(name), None, trends=trends) as stack,
    ):
        load, table = Load(stack), TableReader(stack.redis, TRENDS)
        load.arrays(2.0)
        before = table.end()
        gateway = _gateway_us(load.arrays(seconds))
        rows = (table.end() - before) / clicks_of(seconds)
        table.close()
    return gateway / 1e6, rows


def clicks_of(seconds: float) -> float:
    """Return how many clicks `Load.arrays` sends in so many seconds."""
    from nextclick.bench.clicks import ARRAY, ARRAYS_A_SECOND

    return max(1, int(seconds * ARRAYS_A_SECOND)) * ARRAY


def _gateway_us(rows: list[BenchRow]) -> float:
    return next(row.value for row in rows if row.name == "in arrays, gateway")


def redis_alone() -> tuple[float, float]:
    """Return microseconds of Redis for a row written and for one read, with nothing else."""
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name:
        server = EmbeddedRedis(Path(name))
        server.start()
        try:
            assert server.process is not None
            return _written_and_read(RedisSettings(url=server.url), server.process.pid)
        finally:
            server.stop()


def _written_and_read(redis: RedisSettings, pid: int) -> tuple[float, float]:
    random = np.random.default_rng(5)
    table, reader = TableWriter(redis, "plan", kept_changes=10 * ROWS), TableReader(redis, "plan")
    since, before = reader.end(), _cpu_s(pid)
    for start in range(0, ROWS, TOGETHER):
        keys = range(start, start + TOGETHER)
        table.commit({number.to_bytes(8, "little"): random.bytes(ROW_BYTES) for number in keys})
    written = _cpu_s(pid) - before
    before = _cpu_s(pid)
    for _ in range(READERS):
        at = since
        while changes := reader.changes(at, count=TOGETHER):
            at = changes[-1].number + 1
    read = _cpu_s(pid) - before
    table.close()
    reader.close()
    return 1e6 * written / ROWS, 1e6 * read / (READERS * ROWS)


def _cpu_s(pid: int) -> float:
    return parse_stat(Path(f"/proc/{pid}/stat").read_text()).cpu_s
