"""Columns that scenarios and filters read of every item, made in slices that never hold the event loop long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from gateway.scenarios import Scenarios
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import ScenarioError
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import Ahead

SLICE_S: Final = 0.002
"""How long one slice may hold the event loop; the number of rows in it follows from what the last one took."""
LEAST_SLICE, FIRST_SLICE, MAX_SLICE = 16, 64, 16_384
LOOK_S: Final = 0.2
"""How often to look whether something was published, or columns were exchanged."""
_PASSES: Final = 3
"""Times that all is looked at: what was made first may be behind again when the last of it is made."""
_SPARE: Final = 100_000
"""Rows beyond twice of what there was to look at, after which it is left to the request: there is no room for all."""


class ColumnsAhead:
    """Makes columns ahead of requests, and lets others run between two slices."""

    def __init__(self, columns: CatalogueColumns, turn: asyncio.Lock) -> None:
        """`turn` is held while a batch reads the columns, and while they are written."""
        self._columns, self._turn = columns, turn

    async def catch_up(self, wanted: Sequence[Ahead]) -> None:
        """Wait until what is wanted of every item is there, and knows all that changed. At once where it does."""
        for _ in range(_PASSES):
            if not wanted or not (await self._slice(wanted, FIRST_SLICE))[0]:
                return
            for one in wanted:
                await self._make(one)

    async def _make(self, one: Ahead) -> None:
        """Make one thing. A row of another may cost a hundred times as much, so each begins with a small slice."""
        looked, most, rows = 0, 0, FIRST_SLICE
        while True:
            left, took = await self._slice([one], rows)
            most = most or 2 * left + _SPARE
            looked += rows
            if not left or looked > most:
                return
            if took > SLICE_S:
                rows = max(LEAST_SLICE, rows // 2)
            elif took < SLICE_S / 2:
                rows = min(2 * rows, MAX_SLICE)
            await asyncio.sleep(0)

    async def _slice(self, wanted: Sequence[Ahead], rows: int) -> tuple[int, float]:
        """Look at so many rows; returns how many are left, and the seconds that it took."""
        async with self._turn:
            began = perf_counter()
            left = self._columns.fields.catch_up(self._columns, wanted, rows)
            return left, perf_counter() - began


async def keep_made(
    ahead: ColumnsAhead,
    columns: CatalogueColumns,
    scenarios: Scenarios,
    clock: Callable[[], int],
    loaded: Callable[[], bool],
) -> None:
    """Make what published scenarios read of every item, here and after an exchange of the columns, while there is room.

    `loaded`: whether catalogue and scenarios are here. A request that comes before waits for what it needs itself.
    """
    made: dict[str, int] = {}
    fields, changes = columns.fields, -1
    while True:
        if columns.fields is not fields:
            made, fields, changes = {}, columns.fields, -1
        if loaded() and changes != scenarios.changes:
            changes = scenarios.changes
            for version in scenarios.all():
                if made.get(version.name) != version.version and not fields.is_full:
                    made[version.name] = version.version
                    await _make(ahead, scenarios, version.name, clock())
        await asyncio.sleep(LOOK_S)


async def _make(ahead: ColumnsAhead, scenarios: Scenarios, name: str, now_ms: int) -> None:
    try:
        found = scenarios.find(name)
    except ScenarioError:  # said to those who ask for it
        return
    await asyncio.sleep(0)
    if found is not None:
        await ahead.catch_up(read_of_items(found, now_ms))
