"""What is popular and what is viewed together, as decayed counts of one item at a time.

The pure core: `session_pairs` says which items a click brings together, `TrendAccumulator` counts for one item.
The trends flow and the re-ranker's training both count through here. `TrendColumns` is the serving replica.

Counts use forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): an event at t adds
2^((t - landmark) / half_life), so adding is O(1), nothing is touched as time goes by, and order of arrival is
indifferent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from contracts.codec import ItemTrend
from contracts.events import EventCode
from contracts.ids import ItemKey
from retrieval.columns import grown
from retrieval.key_rows import KeyRows, Keys, Rows

Float32s = NDArray[np.float32]

_RESCALE_AT = 64.0
"""Half-lives after the landmark at which sums are scaled back, far from the end of a float."""


@dataclass(frozen=True, slots=True)
class TrendRules:
    """How clicks become trends.

    half_life: every count halves in this time. neighbours: co-visited items handed on per item. tracked: co-visited
    items counted per item before the weakest half is let go. pair_window: a click is paired with this many of the
    session's last distinct items. backward: weight of the pair from the later item to the earlier one, as a
    share of the forward one.
    """

    half_life: timedelta = timedelta(hours=12)
    neighbours: int = 50
    tracked: int = 200
    pair_window: int = 5
    backward: float = 0.5

    def __post_init__(self) -> None:
        if self.half_life <= timedelta(0) or self.pair_window < 1 or not 0 < self.neighbours <= self.tracked:
            raise ValueError(f"expected half_life > 0, pair_window >= 1, 0 < neighbours <= tracked, got {self}")

    @property
    def half_life_ms(self) -> float:
        return self.half_life.total_seconds() * 1000.0


Pair = tuple[ItemKey, ItemKey, float]
"""(item that is looked up, item that it then suggests, weight)."""


def session_pairs(previous: Sequence[ItemKey], item: ItemKey, rules: TrendRules) -> list[Pair]:
    """Return the pairs that a click on `item` makes with the session's earlier items (`previous`, newest last).

    Only the last `pair_window` distinct items other than `item` count; the d-th of them, counted back from the
    click, weighs 1/d. Both directions are returned: earlier to later at full weight, because what was clicked next
    is what we are asked for, and later to earlier at the `backward` share, because pairs are sparse and a pair says
    that two items are alike whichever came first.
    """
    distinct: dict[ItemKey, None] = {}
    for earlier in reversed(previous):
        if earlier != item:
            distinct[earlier] = None
            if len(distinct) == rules.pair_window:
                break
    pairs: list[Pair] = []
    for distance, earlier in enumerate(distinct, 1):
        pairs.append((earlier, item, 1.0 / distance))
        if rules.backward > 0:
            pairs.append((item, earlier, rules.backward / distance))
    return pairs


@dataclass(slots=True)
class TrendAccumulator:
    """One item's counters. Mutable, plain Python values, correct for times in any order.

    `popularity` and the others below are sums of 2^((t - landmark_ms) / half_life): only `snapshot` gives counts.
    """

    rules: TrendRules
    landmark_ms: int = -1
    last_ms: int = -1
    popularity: float = 0.0
    views: float = 0.0
    impressions: float = 0.0
    clicks: float = 0.0
    pairs: dict[ItemKey, float] | None = None

    def click(self, ts_ms: int, code: EventCode = EventCode.VIEW) -> None:
        """Count a click of any type; a view also counts as a view."""
        gain = self._gain(ts_ms)
        self.popularity += gain
        if code is EventCode.VIEW:
            self.views += gain

    def impression(self, ts_ms: int) -> None:
        """Count that the item was shown."""
        gain = self._gain(ts_ms)  # first: it may scale the sum it is added to
        self.impressions += gain

    def clicked_impression(self, ts_ms: int) -> None:
        """Count that it was shown and then clicked. The click itself counts through `click`."""
        gain = self._gain(ts_ms)
        self.clicks += gain

    def pair(self, other: ItemKey, weight: float, ts_ms: int) -> None:
        """Count that `other` was clicked in the same session."""
        gain = self._gain(ts_ms) * weight
        if self.pairs is None:
            self.pairs = {}
        self.pairs[other] = self.pairs.get(other, 0.0) + gain
        if len(self.pairs) > self.rules.tracked:
            self.pairs = dict(self._strongest(max(self.rules.neighbours, self.rules.tracked // 2)))

    def snapshot(self, as_of_ms: int) -> ItemTrend:
        """Return the counts as they stand at `as_of_ms`, with the strongest neighbours, strongest first.

        A time before the newest event counted is taken to be that event's: counts are never shown as of a past
        that they have already left.
        """
        as_of_ms = max(as_of_ms, self.last_ms)
        scale = self._weight(self.landmark_ms - as_of_ms)
        strongest = self._strongest(self.rules.neighbours)
        return ItemTrend(
            as_of_ms=as_of_ms,
            popularity=self.popularity * scale,
            views=self.views * scale,
            impressions=self.impressions * scale,
            clicks=self.clicks * scale,
            neighbours=np.array([other for other, _ in strongest], np.uint64),
            weights=np.array([weight * scale for _, weight in strongest], np.float32),
        )

    def _strongest(self, count: int) -> list[tuple[ItemKey, float]]:
        """Return the pairs with the largest sums, largest first; equal ones in the order of their keys."""
        return heapq.nsmallest(count, (self.pairs or {}).items(), key=lambda pair: (-pair[1], pair[0]))

    def _weight(self, difference_ms: float) -> float:
        return float(2.0 ** max(-1000.0, difference_ms / self.rules.half_life_ms))

    def _gain(self, ts_ms: int) -> float:
        """Return what an event at `ts_ms` adds to a sum."""
        if self.last_ms < 0:
            self.landmark_ms = ts_ms
        self.last_ms = max(self.last_ms, ts_ms)
        if ts_ms - self.landmark_ms > _RESCALE_AT * self.rules.half_life_ms:
            self._move_landmark(ts_ms)
        return self._weight(ts_ms - self.landmark_ms)

    def _move_landmark(self, landmark_ms: int) -> None:
        scale = self._weight(self.landmark_ms - landmark_ms)
        self.landmark_ms = landmark_ms
        self.popularity *= scale
        self.views *= scale
        self.impressions *= scale
        self.clicks *= scale
        if self.pairs is not None:
            self.pairs = {other: weight * scale for other, weight in self.pairs.items()}


_PRIOR_SHOWINGS = 20.0
"""How many showings at the overall rate an item's own rate is smoothed with."""
_TRENDING_EVERY_MS = 1000
_TRENDING_KEPT = 500


class TrendColumns:
    """The trends table as arrays: one row an item. For one thread, which applies between reads.

    All counts halve at the same pace, so which of two items is the more popular never changes by itself: `heat`
    (log2 of popularity, carried to a common instant) orders them for good until the next change.
    """

    def __init__(self, rules: TrendRules | None = None) -> None:
        self._rules = rules or TrendRules()
        self._rows = KeyRows()
        self._neighbours = np.zeros((0, self._rules.neighbours), np.uint64)
        self._shares = np.zeros((0, self._rules.neighbours), np.float32)
        self._keys = np.zeros(0, np.uint64)
        self._heat = np.full(0, -np.inf)
        self._popularity = np.zeros(0, np.float32)
        self._views = np.zeros(0, np.float32)
        self._impressions = np.zeros(0, np.float32)
        self._clicks = np.zeros(0, np.float32)
        self._shown = 0.0
        self._clicked = 0.0
        self._trending: tuple[int, Keys] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Keys:
        """Every key that was ever applied, (n,), in row order."""
        return self._keys[: len(self._rows)]

    def apply(self, changes: Iterable[tuple[ItemKey, ItemTrend | None]]) -> None:
        """Take table changes in order; None forgets the item. Changes are absolute: the last one of a key counts."""
        latest = dict(changes)
        if not latest:
            return
        rows = self._rows.add(np.fromiter(latest, np.uint64, len(latest)))
        self._grow()
        for row, (key, trend) in zip(rows.tolist(), latest.items(), strict=True):
            self._shown -= float(self._impressions[row])
            self._clicked -= float(self._clicks[row])
            self._put(row, key, trend)
            self._shown += float(self._impressions[row])
            self._clicked += float(self._clicks[row])

    def rows_of(self, keys: Keys) -> Rows:
        """Return each key's row, -1 for an item without trends: what `*_at` take, to look keys up once."""
        return self._rows.rows_of(keys)

    def neighbours_of(self, keys: Keys, k: int | None = None) -> tuple[Keys, Float32s]:
        """Return the `k` strongest neighbours of every key: (n, k) keys and (n, k) shares, strongest first.

        A share is the co-visitation weight over the item's own decayed clicks, both of one instant: what a click
        on the item says about its neighbour, comparable between items and untouched by time, at most 1. Padding has
        share 0.
        """
        k = self._rules.neighbours if k is None else min(k, self._rules.neighbours)
        rows = self._rows.rows_of(keys)
        known = rows >= 0
        if not len(self._rows):
            return np.zeros((len(keys), k), np.uint64), np.zeros((len(keys), k), np.float32)
        shares = self._shares[rows, :k] * known[:, None]  # (n, k)
        return self._neighbours[rows, :k], shares

    def popularity_of(self, keys: Keys, now_ms: int) -> Float32s:
        """Return the decayed clicks of every key at `now_ms`, (n,); 0 for an item without trends."""
        return self.popularity_at(self._rows.rows_of(keys), now_ms)

    def ctr_of(self, keys: Keys) -> Float32s:
        """Return clicks per showing of every key, (n,), smoothed towards the rate over all items."""
        return self.ctr_at(self._rows.rows_of(keys))

    def views_of(self, keys: Keys, now_ms: int) -> Float32s:
        """Return the decayed views of every key at `now_ms`, (n,)."""
        rows = self._rows.rows_of(keys)
        share = self._take(self._views, rows) / np.maximum(self._take(self._popularity, rows), 1e-30)
        return (self.popularity_at(rows, now_ms) * share).astype(np.float32)

    def popularity_at(self, rows: Rows, now_ms: int | NDArray[np.int64]) -> Float32s:
        """`popularity_of` by row. `now_ms` is one instant, or one for every row."""
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        heat = np.where(rows >= 0, self._heat[rows], -np.inf)
        return np.exp2(heat - now_ms / self._rules.half_life_ms).astype(np.float32)

    def ctr_at(self, rows: Rows) -> Float32s:
        """`ctr_of` by row."""
        rate = max(self._clicked, 0.0) / self._shown if self._shown > 1.0 else 0.0
        clicks, shown = self._take(self._clicks, rows), self._take(self._impressions, rows)
        return ((clicks + rate * _PRIOR_SHOWINGS) / (shown + _PRIOR_SHOWINGS)).astype(np.float32)

    def trending(self, now_ms: int, k: int) -> Keys:
        """Return the `k` (at most 500) most popular keys, most popular first. Ordered anew once a second at most."""
        if self._trending is None or not 0 <= now_ms - self._trending[0] < _TRENDING_EVERY_MS:
            self._trending = (now_ms, self._hottest(_TRENDING_KEPT))
        return self._trending[1][:k]

    def _hottest(self, k: int) -> Keys:
        heat = self._heat[: len(self._rows)]
        rows = np.flatnonzero(heat > -np.inf)
        if len(rows) > k:
            rows = rows[np.argpartition(-heat[rows], k)[:k]]
        return self._keys[rows[np.argsort(-heat[rows], kind="stable")]]

    def _take(self, column: Float32s, rows: Rows) -> Float32s:
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        return np.where(rows >= 0, column[rows], np.float32(0))

    def _put(self, row: int, key: ItemKey, trend: ItemTrend | None) -> None:
        self._keys[row] = key
        self._shares[row] = 0.0
        if trend is None:
            self._heat[row] = -np.inf
            self._popularity[row] = self._views[row] = self._impressions[row] = self._clicks[row] = 0.0
            return
        k = min(len(trend.neighbours), self._rules.neighbours)
        if k:
            self._neighbours[row, :k] = trend.neighbours[:k]
            self._shares[row, :k] = trend.weights[:k] / max(trend.popularity, float(trend.weights[0]))
        alive = trend.popularity > 0
        self._heat[row] = np.log2(trend.popularity) + trend.as_of_ms / self._rules.half_life_ms if alive else -np.inf
        self._popularity[row] = trend.popularity
        self._views[row] = trend.views
        self._impressions[row] = trend.impressions
        self._clicks[row] = trend.clicks

    def _grow(self) -> None:
        wanted = len(self._rows)
        if wanted <= len(self._keys):
            return
        self._keys = grown(self._keys, wanted)
        self._neighbours = grown(self._neighbours, wanted)
        self._shares = grown(self._shares, wanted)
        self._heat = grown(self._heat, wanted, fill=-np.inf)
        self._popularity = grown(self._popularity, wanted)
        self._views = grown(self._views, wanted)
        self._impressions = grown(self._impressions, wanted)
        self._clicks = grown(self._clicks, wanted)
