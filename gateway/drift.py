"""Drift while serving: a drawn share of the home pages, their features and scores counted beside the training's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import GaugeMetricFamily, Metric

from gateway.metrics import PREFIX
from rerank.drift import Counted, Drift
from rerank.ranker import Ranker

LEAST_PAGES: Final = 100
"""Of fewer pages nothing is said: the candidates of one page are alike."""


class FeatureWatch:
    """Counts every `every`-th page of one re-ranker. Two windows take turns, so that what is told is between one and
    two windows old. Pages are counted by the ranking thread and read by another: what is read may lack the newest page.
    """

    def __init__(self, ranker: Ranker | None, every: int, window_ms: int) -> None:
        """`every` 0 counts none; so does a re-ranker that knows no baseline."""
        self._ranker = ranker if every and ranker is not None and ranker.baseline is not None else None
        self._every, self._window_ms = every, window_ms
        self._seen = 0
        self._windows: list[Counted] = []
        self._began_ms = 0

    def saw(self, rows: NDArray[np.float32] | None, now_ms: int) -> None:
        """See the candidates of a home page of a known session, (n, f)."""
        if self._ranker is None or rows is None:
            return
        self._seen += 1
        if self._seen % self._every or not len(rows):
            return
        self._count(self._ranker, rows, now_ms)

    def _count(self, ranker: Ranker, rows: NDArray[np.float32], now_ms: int) -> None:
        assert ranker.baseline is not None
        if not self._windows or now_ms - self._began_ms >= self._window_ms:
            self._windows = [Counted(ranker.baseline), *self._windows[:1]]
            self._began_ms = now_ms
        self._windows[0].count(np.column_stack([rows, ranker.rank_scores(rows)]))

    @property
    def counts(self) -> bool:
        """Whether anything is counted: there is a re-ranker with a baseline, and `every` is not 0."""
        return self._ranker is not None

    @property
    def pages(self) -> int:
        """How many pages the figures stand on."""
        return sum(window.pages for window in self._windows)

    def drifts(self) -> list[Drift]:
        """Return how far features and scores moved; nothing while too few pages were counted."""
        if self._ranker is None or self._ranker.baseline is None or self.pages < LEAST_PAGES:
            return []
        total = Counted(self._ranker.baseline)
        for window in list(self._windows):
            total.add(window)
        return total.drifts()

    def metrics(self) -> Iterator[Metric]:
        """Yield what Prometheus reads."""
        psi = GaugeMetricFamily(
            f"{PREFIX}drift_psi", "Population stability index of a feature since training.", labels=["feature"]
        )
        ks = GaugeMetricFamily(
            f"{PREFIX}drift_ks", "Kolmogorov-Smirnov distance of a feature since training.", labels=["feature"]
        )
        for one in self.drifts():
            psi.add_metric([one.name], one.psi)
            ks.add_metric([one.name], one.ks)
        yield from (psi, ks, GaugeMetricFamily(f"{PREFIX}drift_pages", "Pages that drift stands on.", value=self.pages))
