"""Open-loop load on one process's index, for the benchmark: upserts under searches, and snapshots exchanged meanwhile.

Times count from the instant a search was meant to start, so a stall shows in every search that it kept waiting.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from gateway.background import running
from gateway.replica import Replica
from gateway.replicas import keys_of
from nextclick.bench.index_files import NEIGHBOURS
from nextclick.bench.vectors import clustered
from retrieval.ann_index import AnnIndex
from retrieval.intake import Intake
from retrieval.live import Opened, Start, fingerprint
from state.async_tables import AsyncTableReader
from state.embedded import EmbeddedRedis
from state.tables import TableWriter

Float32s = NDArray[np.float32]


@dataclass(slots=True)
class Swapped:
    """Milliseconds of searches before any exchange and around exchanges, and how many failed."""

    before_ms: list[float] = field(default_factory=list)
    during_ms: list[float] = field(default_factory=list)
    failed: int = 0
    swaps: int = 0


async def freshness(
    opened: Opened, seconds: float, upserts_a_second: float, searches_a_second: float
) -> tuple[list[float], list[float]]:
    """Commit items to a real table and follow it, as a gateway does. Returns milliseconds from the commit's start to a
    search that finds the item, and of the searches beside."""
    vectors = clustered(max(2, int(seconds * upserts_a_second)), seed=11)
    late_ms: list[float] = []
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder, EmbeddedRedis(Path(folder)) as server:
        settings = RedisSettings(url=server.url)
        writer, reader = TableWriter(settings, CATALOGUE), AsyncTableReader(settings, CATALOGUE)
        intake = Intake(opened.columns, opened.index)
        start = Start(0, fingerprint([]))
        replica = Replica("catalogue", reader, intake.take, keys_of(opened.columns), start)
        async with running(replica.run()):
            while not replica.loaded:  # noqa: ASYNC110 (at start, once)
                await asyncio.sleep(0.01)

            async def upsert(number: int) -> None:
                item_id, vector = f"new-{number}", vectors[number]
                key = item_key(item_id)
                version = opened.columns.model_version or 0
                row = CatalogueRow(item_id, Item(title=item_id), 5, 1000, version, vector.astype("<f4").tobytes())
                began = perf_counter()
                end = await asyncio.to_thread(writer.commit, {key.to_bytes(8, "little"): encode_row(row)})
                await replica.catch_up(end)
                place = int(opened.columns.rows_of(np.array([key], np.uint64))[0])
                while place not in opened.index.search(vector[None], 10)[0]:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                late_ms.append(1000 * (perf_counter() - began))

            searching = asyncio.create_task(_searches(opened.index, seconds, searches_a_second))
            upserts = []
            began = perf_counter()
            for number in range(len(vectors)):
                await asyncio.sleep(max(0.0, began + number / upserts_a_second - perf_counter()))
                upserts.append(asyncio.create_task(upsert(number)))
            await asyncio.gather(*upserts)
            search_ms = await searching
        await reader.close()
        writer.close()
    return late_ms, search_ms


async def hot_swap(open_it: Callable[[], Opened], seconds: float, searches_a_second: float) -> Swapped:
    """Search at a rate for a while, then go on while the snapshot is opened anew and exchanged once a second."""
    found = Swapped()
    serving = open_it()
    found.before_ms = await _searches(serving.index, seconds / 2, searches_a_second)
    searching = asyncio.create_task(_searches(serving.index, seconds / 2, searches_a_second, found))
    while not searching.done():
        fresh = await asyncio.to_thread(open_it)
        retired: list[object] = [copy(serving.columns), copy(serving.index)]
        serving.columns.replace_in_place(fresh.columns)
        serving.index.replace_in_place(fresh.index)
        await asyncio.to_thread(retired.clear)
        found.swaps += 1
        await asyncio.wait([searching], timeout=1.0)
    found.during_ms = await searching
    return found


async def _searches(index: AnnIndex, seconds: float, rate: float, count: Swapped | None = None) -> list[float]:
    queries = clustered(1000, seed=12)
    took_ms = []
    began = perf_counter()
    for number in range(int(seconds * rate)):
        meant = began + number / rate
        await asyncio.sleep(max(0.0, meant - perf_counter()))
        rows, _ = index.search(queries[number % len(queries)][None], NEIGHBOURS)
        if count is not None and (rows < 0).any():
            count.failed += 1
        took_ms.append(1000 * (perf_counter() - meant))
    return took_ms
