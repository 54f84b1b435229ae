"""Figures of the last full hour on `/metrics`: read from Redis at a scrape, off the event loop, at most every 15 s."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric

from attribution.cells import HOUR_MS, cells_of
from attribution.facts import OTHER, SCALE
from attribution.figures import table
from contracts.errors import NextclickError
from contracts.settings import RedisSettings
from gateway.metrics import PREFIX
from state.attribution import read_ledger

COUNTS: Final = {"hour_shown": "shown", "hour_clicks": "clicks", "hour_orders": "orders"}
REVENUE: Final = "hour_revenue"
MOST_CELLS: Final = 20_000
"""Of the hour; of more, nothing is shown: Redis answers nobody else meanwhile."""
MOST_SCENARIOS: Final = 50
"""That have figures of their own, those with most items shown; whoever sends events can make names up."""
_EVERY_S: Final = 15.0
_WAITED_S: Final = 0.5

Row = tuple[str, str]
"""Whether it was recommended, and the scenario."""


class HourFigures:
    """Belongs to the event loop of its process. What cannot be read now is left out of the scrape."""

    def __init__(self, redis: RedisSettings, clock_ms: Callable[[], int]) -> None:
        self._redis, self._clock_ms = redis, clock_ms
        self._rows: dict[Row, Counter[str]] = {}
        self._read_at_s = -_EVERY_S
        self._reading: asyncio.Task[dict[Row, Counter[str]]] | None = None

    async def refresh(self) -> None:
        """Read anew what is older than 15 s. A Redis that does not answer holds a scrape up for half a second."""
        reading = self._reading
        if reading is None:
            if time.monotonic() - self._read_at_s < _EVERY_S:
                return
            reading = asyncio.create_task(asyncio.to_thread(self._read, self._clock_ms() // HOUR_MS - 1))
            self._reading = reading
        await asyncio.wait({reading}, timeout=_WAITED_S)
        if not reading.done():
            self._rows = {}
        elif self._reading is reading:  # of several scrapes that waited for it, the first takes it
            self._reading, self._read_at_s = None, time.monotonic()
            self._rows = reading.result()

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each figure."""
        labels = ["recommended", "scenario"]
        for name, counter in COUNTS.items():
            family = GaugeMetricFamily(PREFIX + name, f"Of the last full hour: {counter}.", labels=labels)
            for row, counts in self._rows.items():
                family.add_metric(row, counts[counter] / SCALE)
            yield family
        family = GaugeMetricFamily(PREFIX + REVENUE, "Of the last full hour: revenue.", labels=[*labels, "currency"])
        for row, counts in self._rows.items():
            for currency in sorted({name.partition(":")[2] for name in counts if name.startswith("revenue:")}):
                net = counts[f"revenue:{currency}"] - counts[f"returned:{currency}"]
                family.add_metric([*row, currency], net / SCALE)
        yield family

    def recommended(self) -> dict[str, float]:
        """Return counts of what was recommended, of all scenarios; nothing where nothing was read."""
        rows = [counts for (recommended, _), counts in self._rows.items() if recommended == "yes"]
        return {name: sum(one[name] for one in rows) / SCALE for name in ("shown", "clicks")} if rows else {}

    def _read(self, hour: int) -> dict[Row, Counter[str]]:
        try:
            ledger = read_ledger(self._redis, hour, hour, most=MOST_CELLS)
        except NextclickError:
            return {}
        return bounded(table(cells_of(ledger.cells).items(), ["recommended", "scenario"]))


def bounded(rows: dict[tuple[str, ...], Counter[str]]) -> dict[Row, Counter[str]]:
    """Return rows of at most so many scenarios, the others together."""
    found: dict[Row, Counter[str]] = {}
    by_shown = sorted(rows.items(), key=lambda one: (-one[1]["shown"], one[0]))
    for at, ((recommended, scenario), counts) in enumerate(by_shown):
        row = recommended, scenario if at < MOST_SCENARIOS else OTHER
        found.setdefault(row, Counter()).update(counts)
    return found


HOUR_FIGURES: Final = web.AppKey("hour figures", HourFigures)
