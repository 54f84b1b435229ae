"""One item's counters in plain Python: what `retrieval.trend_counts` counts as arrays, and is held to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contracts.codec import PAIR_COUNTS, TREND_COUNTS, ItemTrend
from contracts.events import EventCode
from contracts.ids import ItemKey
from retrieval.trends import ClickOrigin, TrendRules

_SLOW_COUNTS = tuple(name for name in TREND_COUNTS if name != "recent")
_RESCALE_AT = 64.0

Sums = tuple[float, float, float]
"""Of one pair: clicked after, clicked before, and either of them at the recent pace."""


@dataclass(slots=True)
class TrendAccumulator:
    """One item's counters. Mutable, plain Python values, correct for times in any order.

    `popularity` and the others below are sums of 2^((t - landmark_ms) / half_life): only `snapshot` gives counts. There
    is one for each of TREND_COUNTS, of the same name.
    `origin_counts` are clicks by ClickOrigin, and do not decay: they describe the item, not its moment.
    """

    rules: TrendRules
    landmark_ms: int = -1
    last_ms: int = -1
    popularity: float = 0.0
    recent: float = 0.0
    views: float = 0.0
    pairs: dict[ItemKey, Sums] | None = None
    origin_counts: list[int] = field(default_factory=lambda: [0] * len(ClickOrigin))

    def click(self, ts_ms: int, code: EventCode = EventCode.VIEW, *, origin: ClickOrigin) -> None:
        """Count a click of any type; a view also counts as a view."""
        self.origin_counts[origin] += 1
        gain, recent_gain = self._gains(ts_ms)  # first: it may scale the sums that it is added to
        self.popularity += gain
        self.recent += recent_gain
        if code in (EventCode.VIEW, EventCode.LOOK):
            self.views += gain

    def pair(self, other: ItemKey, weight: float, ts_ms: int, *, after: bool) -> None:
        """Count that `other` was clicked in the same session, after this item or before it."""
        gain, recent_gain = self._gains(ts_ms)
        if self.pairs is None:
            self.pairs = {}
        held = self.pairs.get(other, (0.0, 0.0, 0.0))
        if after:
            self.pairs[other] = (held[0] + gain * weight, held[1], held[2] + recent_gain * weight)
        else:
            backward = recent_gain * weight * self.rules.backward
            self.pairs[other] = (held[0], held[1] + gain * weight, held[2] + backward)
        if len(self.pairs) > self.rules.tracked:
            kept = max(self.rules.neighbours, self.rules.tracked // 2)
            keys, _ = self._strongest(kept, min(kept, 2 * self.rules.recent_neighbours))
            self.pairs = {ItemKey(key): self.pairs[ItemKey(key)] for key in keys.tolist()}

    def snapshot(self, as_of_ms: int) -> ItemTrend:
        """Return the counts as they stand at `as_of_ms`, with the strongest neighbours, strongest first.

        A time before the newest event counted is taken to be that event's: counts are never shown as of a past
        that they have already left.
        """
        as_of_ms = max(as_of_ms, self.last_ms)
        scale, recent_scale = self._weights(self.landmark_ms - as_of_ms)
        neighbours, sums = self._strongest(self.rules.neighbours, self.rules.recent_neighbours)
        entry, repeat, forward, back = self.origin_counts
        return ItemTrend(
            as_of_ms=as_of_ms,
            recent=self.recent * recent_scale,
            neighbours=neighbours,
            weights=(sums * (scale, scale, recent_scale)).astype(np.float32),
            origin_counts=(entry, repeat, forward, back),
            **{name: getattr(self, name) * scale for name in _SLOW_COUNTS},
        )

    def _strongest(self, count: int, recent: int) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """Return the strongest pairs, strongest first: the other items' keys (n,) and the sums (n, 3). They are the
        `recent` strongest lately, and of all others the strongest, up to `count`. Equal ones come in the order of
        their keys.
        """
        pairs = self.pairs or {}
        keys = np.fromiter(pairs, np.uint64, len(pairs))
        sums = np.array(list(pairs.values()), np.float64).reshape(-1, PAIR_COUNTS)
        order = np.lexsort((keys, -sums[:, 0] - self.rules.backward * sums[:, 1]))
        if len(order) > count:
            chosen = np.zeros(len(order), np.bool_)
            chosen[np.lexsort((keys, -sums[:, 2]))[:recent]] = True
            chosen[order[~chosen[order]][: count - np.count_nonzero(chosen)]] = True
            order = order[chosen[order]]
        return keys[order], sums[order]

    def _weights(self, difference_ms: float) -> tuple[float, float]:
        return _halved(difference_ms / self.rules.half_life_ms), _halved(difference_ms / self.rules.recent_half_life_ms)

    def _gains(self, ts_ms: int) -> tuple[float, float]:
        """Return what an event at `ts_ms` adds to a sum, and to a recent one."""
        if self.last_ms < 0:
            self.landmark_ms = ts_ms
        self.last_ms = max(self.last_ms, ts_ms)
        if ts_ms - self.landmark_ms > _RESCALE_AT * self.rules.recent_half_life_ms:
            self._move_landmark(ts_ms)
        return self._weights(ts_ms - self.landmark_ms)

    def _move_landmark(self, landmark_ms: int) -> None:
        scale, recent_scale = self._weights(self.landmark_ms - landmark_ms)
        self.landmark_ms = landmark_ms
        self.recent *= recent_scale
        for name in _SLOW_COUNTS:
            setattr(self, name, getattr(self, name) * scale)
        if self.pairs is not None:
            self.pairs = {
                other: (after * scale, before * scale, recent * recent_scale)
                for other, (after, before, recent) in self.pairs.items()
            }


def _halved(half_lives: float) -> float:
    return float(2.0 ** max(-1000.0, half_lives))
