"""The schedule of a stack that trains again and again, on `/metrics`: read from Redis at a scrape, off the event loop,
at most every 15 s. How retrainings went, whoever began them, is read from the models' folder (`gateway.model_figures`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from contracts.retrain_status import OUTCOMES, RetrainStatus
from contracts.settings import RedisSettings
from gateway.metrics import PREFIX
from gateway.read_figures import ReadFigures
from state.retrain_status import RetrainStatusStore


def retrain_figures(redis: RedisSettings) -> ReadFigures[RetrainStatus]:
    """Return what shows the schedule of a deployment; nothing where nothing is trained, or Redis is away."""
    return ReadFigures(RetrainStatusStore(redis).read, figures)


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


RETRAIN_FIGURES: Final = web.AppKey("retrain figures", ReadFigures[RetrainStatus])
