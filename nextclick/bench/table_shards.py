"""What shards of the catalogue cost: a commit, a load of all rows, a strict read, following idle; 1, 3 and 8, in turns.

    python -m nextclick.bench.table_shards [--rows 100000] [--commits 300] [--reads 2000] [--rounds 3]

One Redis of its own, and every number of shards under a prefix of its own, asked in turns in one process. Writes
build/bench/table-shards.json.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from contracts.ids import item_key
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from nextclick.bench.report import BenchRow, expect_bench, finish
from state.async_tables import AsyncTableReader
from state.embedded import EmbeddedRedis
from state.sessions import SessionReader
from state.shards import catalogue_reader, catalogue_writer, shard_readers
from state.tables import Source

SHARDS: Final = (1, 3, 8)
ROW: Final = b"r" * 900
"""Bytes of a row with a vector of 128 numbers, about."""
AT_ONCE: Final = 20
"""Items of a commit: what one `PUT` of a batch, or a second of a small shop, brings."""


class House:
    """The catalogue in so many shards."""

    def __init__(self, url: str, shards: int) -> None:
        self.shards = shards
        self.settings = RedisSettings(url=url, prefix=f"b{shards}", item_shards=shards, timeout_ms=60_000)
        self.writer, self.reader = catalogue_writer(self.settings), catalogue_reader(self.settings)
        self._next = 0

    def commit(self, names: list[bytes]) -> None:
        """Do what the items flow does of a batch: read offsets, rows and bytes; commit."""
        at = self.reader.places(Topic.ITEMS, 0)
        self.reader.get(names)
        self.reader.extent()
        source = Source(Topic.ITEMS, 0, self._next, self._next + len(names), at)
        self.writer.commit(dict.fromkeys(names, ROW), (), source)
        self._next += len(names)

    def load(self) -> int:
        return sum(len(page) for page in self.reader.rows())

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def timed(count: int, call: Callable[[int], object]) -> tuple[float, float]:
    """Return the microseconds of one of `count` calls, and of this process's processor."""
    began, spent = time.perf_counter(), time.process_time()
    for n in range(count):
        call(n)
    return (time.perf_counter() - began) / count * 1e6, (time.process_time() - spent) / count * 1e6


async def strict_reads(house: House, count: int) -> tuple[float, float]:
    """Return the microseconds of a view with the end of every shard, one after the other; and of processor."""
    reader = SessionReader(house.settings, partitions=12)
    await reader.view("s")
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(count):
        await reader.view("s")
    took = (time.perf_counter() - began) / count * 1e6, (time.process_time() - spent) / count * 1e6
    await reader.close()
    return took


async def load_async(house: House) -> float:
    """Return the milliseconds in which all shards are read at once, as a gateway does."""
    readers = shard_readers(house.settings, CATALOGUE)

    async def rows(reader: AsyncTableReader) -> int:
        count = 0
        async for page in reader.rows():
            count += len(page)
        return count

    began = time.perf_counter()
    assert sum(await asyncio.gather(*map(rows, readers))) == house.reader.size()
    took = (time.perf_counter() - began) * 1e3
    for reader in readers:
        await reader.close()
    return took


async def idle(house: House, seconds: float) -> float:
    """Return the microseconds of processor that following all shards takes in a second in which nothing changes."""
    readers = shard_readers(house.settings, CATALOGUE)

    async def follow(reader: AsyncTableReader) -> None:
        at = await reader.begin()
        while True:
            await reader.changes(at, 1000)

    tasks = [asyncio.create_task(follow(reader)) for reader in readers]
    await asyncio.sleep(1)
    before = time.process_time()
    await asyncio.sleep(seconds)
    spent = (time.process_time() - before) / seconds * 1e6
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for reader in readers:
        await reader.close()
    return spent


def measured(house: House, names: Sequence[bytes], picked: Sequence[Sequence[int]], reads: int) -> dict[str, float]:
    """Return the figures of one turn, by name and unit."""
    batches = [[names[at] for at in batch] for batch in picked]
    commit = timed(len(batches), lambda n: house.commit(batches[n]))
    read = asyncio.run(strict_reads(house, reads))
    return {
        f"commit of {AT_ONCE} items, us": commit[0],
        f"commit of {AT_ONCE} items: processor of the flow, us": commit[1],
        f"load of {len(names):,} rows by a flow, ms": timed(1, lambda _: house.load())[0] / 1e3,
        f"load of {len(names):,} rows by a gateway, ms": asyncio.run(load_async(house)),
        "strict read, us": read[0],
        "strict read: processor of the gateway, us": read[1],
        "following, idle, us of a second": asyncio.run(idle(house, 3.0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.table_shards", description=__doc__)
    for name, default in (("rows", 100_000), ("commits", 300), ("reads", 2000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    expect_bench("table-shards")
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        houses = [House(server.url, shards) for shards in SHARDS]
        names = [item_key(f"i{n}").to_bytes(8, "little") for n in range(options.rows)]
        for house in houses:
            for at in range(0, options.rows, 1000):
                house.commit(names[at : at + 1000])
        random = np.random.default_rng(1)
        for turn in range(options.rounds):
            for house in houses[turn % 3 :] + houses[: turn % 3]:
                picked = random.integers(0, options.rows, (options.commits, AT_ONCE)).tolist()
                for name, figure in measured(house, names, picked, options.reads).items():
                    found.setdefault((name, house.shards), []).append(figure)
        for house in houses:
            house.close()
    rows = [
        BenchRow(
            f"{name.rpartition(', ')[0]}, {shards} {'shard' if shards == 1 else 'shards'}",
            float(np.median(all_)),
            name.rpartition(", ")[2],
        )
        for (name, shards), all_ in sorted(found.items())
    ]
    finish("table-shards", rows, "make bench-table-shards")


if __name__ == "__main__":
    main()
