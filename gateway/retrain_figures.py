"""The schedule of a stack that trains again and again, on `/metrics`: read from Redis at a scrape, off the event loop,
at most every 15 s. How retrainings went, whoever began them, is read from the models' folder (`gateway.model_figures`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from contracts.errors import NextclickError
from contracts.retrain_status import OUTCOMES, RetrainStatus
from contracts.settings import RedisSettings
from gateway.metrics import PREFIX
from state.retrain_status import RetrainStatusStore

_EVERY_S: Final = 15.0
_WAITED_S: Final = 0.5


class RetrainFigures:
    """Belongs to the event loop of its process. Where nothing is trained, or Redis is away, there are no figures."""

    def __init__(self, redis: RedisSettings) -> None:
        self._store = RetrainStatusStore(redis)
        self._status: RetrainStatus | None = None
        self._read_at_s = -_EVERY_S
        self._reading: asyncio.Task[RetrainStatus | None] | None = None

    async def refresh(self) -> None:
        """Read anew what is older than 15 s. A Redis that does not answer holds a scrape up for half a second."""
        reading = self._reading
        if reading is None:
            if time.monotonic() - self._read_at_s < _EVERY_S:
                return
            reading = self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        await asyncio.wait({reading}, timeout=_WAITED_S)
        if not reading.done():
            self._status = None
        elif self._reading is reading:  # of several scrapes that waited for it, the first takes it
            self._reading, self._read_at_s = None, time.monotonic()
            self._status = reading.result()

    def collect(self) -> Iterator[Metric]:
        return figures(self._status)

    def _read(self) -> RetrainStatus | None:
        try:
            return self._store.read()
        except NextclickError:
            return None


def figures(status: RetrainStatus | None) -> Iterator[Metric]:
    """Yield the metrics of a status; none without one. Pure."""
    if status is None:
        return
    runs = CounterMetricFamily(PREFIX + "retrain_runs", "Trainings, by what came of them.", labels=["outcome"])
    for outcome in OUTCOMES:
        runs.add_metric([outcome], status.runs.get(outcome, 0))
    yield runs
    yield GaugeMetricFamily(PREFIX + "retrain_next_timestamp_seconds", "When the next is due.", status.next_ms / 1000)
    yield GaugeMetricFamily(PREFIX + "retrain_running", "1 while one runs.", float(status.running_since_ms is not None))


RETRAIN_FIGURES: Final = web.AppKey("retrain figures", RetrainFigures)
