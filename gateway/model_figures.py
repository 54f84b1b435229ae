"""Which models serve, how old they are and how the last retrainings went, on `/metrics`: read from the folder of models
at a scrape, off the event loop, at most every 15 s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric

from contracts.errors import NextclickError
from contracts.retrain_status import Outcome
from gateway.metrics import PREFIX
from registry.folder import SERVING, Registry
from registry.retrained import Retrained, read_retrained

_EVERY_S: Final = 15.0


class Serving(NamedTuple):
    """What serves in this process: the version of a registry, None for artifacts that are none's."""

    version: str | None
    session_model: str
    reranker: str


class ModelFigures:
    """Belongs to the event loop of its process. What cannot be read now is left out of the scrape."""

    def __init__(self, artifacts: str, serving: Callable[[], Serving]) -> None:
        self._folder = Path(artifacts).parent if Path(artifacts).name == SERVING else None
        self._serving = serving
        self._read_at_s = -_EVERY_S
        self._made_ms: int | None = None
        self._made_of: str | None = None
        self._retrained: Mapping[Outcome, Retrained] = {}

    async def refresh(self) -> None:
        """Read anew what is older than 15 s."""
        version = self._serving().version
        old = time.monotonic() - self._read_at_s >= _EVERY_S
        if self._folder is None or not (old or version != self._made_of):
            return
        self._read_at_s, self._made_of = time.monotonic(), version
        self._made_ms, self._retrained = await asyncio.to_thread(_read, self._folder, version)

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each figure."""
        serving = self._serving()
        info = GaugeMetricFamily(f"{PREFIX}model_info", "1; the models that serve.", labels=list(Serving._fields))
        info.add_metric([one or "" for one in serving], 1)
        yield info
        made = GaugeMetricFamily(f"{PREFIX}model_made_timestamp_seconds", "When the version that serves was made.")
        if self._made_ms is not None:
            made.add_metric([], self._made_ms / 1000)
        yield made
        about = "When the last retraining ended, by what came of it."
        ended = GaugeMetricFamily(f"{PREFIX}retrain_timestamp_seconds", about, labels=["outcome"])
        took = GaugeMetricFamily(f"{PREFIX}retrain_seconds", "How long that took.", labels=["outcome"])
        for outcome, one in self._retrained.items():
            ended.add_metric([outcome], one.at_ms / 1000)
            took.add_metric([outcome], one.took_s)
        yield ended
        yield took


def _read(folder: Path, version: str | None) -> tuple[int | None, Mapping[Outcome, Retrained]]:
    made_ms = None
    with suppress(NextclickError):
        made_ms = Registry(folder).read(version).made_ms if version is not None else None
    return made_ms, read_retrained(folder)


MODEL_FIGURES: Final = web.AppKey("model figures", ModelFigures)
