"""The plain twin of `TrendColumns.apply_rows`, a row at a time: what the kernels are held to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.codec import ItemTrend, decode_trend
from contracts.plausible import expect_trend
from retrieval.trends import TrendRules


class PlainTrends:
    """The columns of `TrendColumns`, in dicts by key."""

    def __init__(self, rules: TrendRules) -> None:
        self.rules = rules
        self.neighbours: dict[int, NDArray[np.uint64]] = {}
        self.shares: dict[int, NDArray[np.float16]] = {}
        self.heat: dict[int, tuple[float, float]] = {}
        self.as_of_ms: dict[int, int] = {}
        self.counts: dict[int, NDArray[np.float32]] = {}
        self.origins: dict[int, NDArray[np.float32]] = {}
        self.transitions = 0.0
        self.known = 0

    def apply_rows(self, rows: Sequence[tuple[int, bytes | None]]) -> None:
        latest = {key: _decoded(row) if row is not None else None for key, row in rows}
        np.fromiter(latest, np.uint64, len(latest))
        for row in (row for _, row in rows if row is not None):
            _decoded(row)
        for key, trend in latest.items():
            if trend is not None or key in self.shares:
                self._weigh(key, -1)
                self._put(key, trend)
                self._weigh(key, 1)

    def _weigh(self, key: int, sign: int) -> None:
        entry, repeat, forward, back = self.origins.get(key, np.zeros(4)).tolist()
        self.transitions += sign * (forward + back)
        self.known += sign * (entry + repeat + forward + back > 0)

    def _put(self, key: int, trend: ItemTrend | None) -> None:
        rules = self.rules
        if trend is None:
            for column in (self.shares, self.heat, self.counts, self.origins, self.neighbours, self.as_of_ms):
                column.pop(key)  # type: ignore[attr-defined]
            return
        self.shares[key] = np.zeros((rules.neighbours, 4), np.float16)
        k = min(len(trend.neighbours), rules.neighbours)
        held = self.neighbours.setdefault(key, np.zeros(rules.neighbours, np.uint64))
        held[:k] = trend.neighbours[:k]
        if k:
            self.shares[key][:k] = _shares(trend, k, rules.backward)
        self.heat[key] = (
            _heat(trend.popularity, trend.as_of_ms / rules.half_life_ms),
            _heat(trend.recent, trend.as_of_ms / rules.recent_half_life_ms),
        )
        self.as_of_ms[key] = trend.as_of_ms
        self.counts[key] = np.array(trend.counts, np.float32)
        self.origins[key] = np.array(trend.origin_counts, np.float32)


def _decoded(row: bytes) -> ItemTrend:
    trend = decode_trend(row)
    expect_trend(trend)
    return trend


def _heat(count: float, half_lives: float) -> float:
    return math.log2(count) + half_lives if count > 0 else -math.inf


def _shares(trend: ItemTrend, k: int, backward: float) -> NDArray[np.float32]:
    """Return the (k, 4) shares of the first k neighbours, each kind of weight over the clicks of its pace."""
    after, before, recent = trend.weights[:k].T
    both = after + np.float32(backward) * before
    clicks = max(trend.popularity, float(both.max()), float(before.max()), 1e-30)
    lately = max(trend.recent, float(recent.max()), 1e-30)
    return np.stack([both / clicks, after / clicks, before / clicks, recent / lately], axis=1)
