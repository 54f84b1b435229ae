"""What is popular and what is viewed together, as decayed counts of one item at a time.

The pure core: `session_pairs` says which items a click brings together, `TrendAccumulator` counts for one item.
The trends flow and the re-ranker's training both count through here, what `retrieval.open_sessions` makes of events;
`retrieval.trend_columns` is the serving replica.

Clicks and pairs are counted at two paces at once: one that remembers, and a recent one that fades `recent_pace` times
as fast. What is read on a news site changes within minutes, what goes with what in a shop within months; the ranker
sees both, and learns which of them to believe.

Counts use forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): an event at t adds
2^((t - landmark) / half_life), so adding is O(1), nothing is touched as time goes by, and order of arrival is
indifferent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.codec import PAIR_COUNTS, TREND_COUNTS, ItemTrend
from contracts.events import EventCode
from contracts.ids import ItemKey
from contracts.settings import TrendOptions

_SLOW_COUNTS = tuple(name for name in TREND_COUNTS if name != "recent")
"""Counts that halve once a half-life: fields of ItemTrend, and sums of TrendAccumulator."""
_RESCALE_AT = 64.0
"""Recent half-lives after the landmark at which sums are scaled back, far from the end of a float."""


@dataclass(frozen=True, slots=True)
class TrendRules:
    """How clicks become trends.

    half_life: every count halves in this time. recent_pace: recent counts halve so many times as fast. neighbours:
    co-visited items handed on per item; up to `recent_neighbours` of them for what is recent. tracked: co-visited items
    counted per item before the weakest half is let go. pair_window: a click is paired with this many of the
    session's last distinct items. backward: weight of the pair from the later item to the earlier one, as a
    share of the forward one, wherever the two are added up. sessions: slots of ended sessions.
    """

    half_life: timedelta = timedelta(hours=12)
    recent_pace: float = 48.0
    neighbours: int = 50
    recent_neighbours: int = 25
    tracked: int = 200
    pair_window: int = 5
    backward: float = 0.5
    sessions: int = 500_000
    half_life_ms: float = field(init=False, repr=False)
    recent_half_life_ms: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.half_life <= timedelta(0) or self.pair_window < 1 or not 0 < self.neighbours <= self.tracked:
            raise ValueError(f"expected half_life > 0, pair_window >= 1, 0 < neighbours <= tracked, got {self}")
        if self.recent_pace < 1:
            raise ValueError(f"expected recent_pace >= 1, got {self}")
        object.__setattr__(self, "half_life_ms", self.half_life.total_seconds() * 1000.0)
        object.__setattr__(self, "recent_half_life_ms", self.half_life_ms / self.recent_pace)

    @classmethod
    def of(cls, options: TrendOptions) -> TrendRules:
        """Return the rules that the settings ask for."""
        return cls(half_life=options.half_life, recent_pace=options.recent_pace, sessions=options.sessions)


class Pair(NamedTuple):
    """Two items of one session: `looked_up` then suggests `suggested`, which was clicked after it, or before it."""

    looked_up: ItemKey
    suggested: ItemKey
    weight: float
    after: bool


class ClickOrigin(IntEnum):
    """Where a click came from in its session. The value is where it is counted."""

    ENTRY = 0
    """It began the session."""
    REPEAT = 1
    """From the same item: it was clicked again."""
    FORWARD = 2
    """From another item, to one that the session had not clicked."""
    RETURN = 3
    """From another item, back to one that the session had clicked."""


def classify_click(previous: Sequence[ItemKey], item: ItemKey) -> ClickOrigin:
    """Return the origin of a click on `item` in a session of these kept clicks (`previous`, newest last)."""
    if not previous:
        return ClickOrigin.ENTRY
    if previous[-1] == item:
        return ClickOrigin.REPEAT
    return ClickOrigin.RETURN if item in previous else ClickOrigin.FORWARD


def session_pairs(previous: Sequence[ItemKey], item: ItemKey, rules: TrendRules) -> list[Pair]:
    """Return the pairs that a click on `item` makes with the session's earlier items (`previous`, newest last).

    Only the last `pair_window` distinct items other than `item` count; the d-th of them, counted back from the
    click, weighs 1/d. Both directions are returned: what was clicked next is what we are asked for, and what was
    clicked before says that two items are alike whichever came first.
    """
    distinct: dict[ItemKey, None] = {}
    for earlier in reversed(previous):
        if earlier != item:
            distinct[earlier] = None
            if len(distinct) == rules.pair_window:
                break
    pairs: list[Pair] = []
    for distance, earlier in enumerate(distinct, 1):
        pairs.append(Pair(earlier, item, 1.0 / distance, True))
        pairs.append(Pair(item, earlier, 1.0 / distance, False))
    return pairs


class ItemUpdate(NamedTuple):
    """What one event says of one item: a click (`code`, and its `origin`), or items of the same session that were
    clicked `after` it or `before` it, each with its weight.
    """

    ts_ms: int
    code: EventCode | None = None
    item_id: str | None = None
    after: tuple[tuple[ItemKey, float], ...] = ()
    before: tuple[tuple[ItemKey, float], ...] = ()
    origin: ClickOrigin = ClickOrigin.ENTRY


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

    def apply(self, update: ItemUpdate) -> None:
        """Count all that an event says of the item."""
        if update.code is not None:
            self.click(update.ts_ms, update.code, origin=update.origin)
        for other, weight in update.after:
            self.pair(other, weight, update.ts_ms, after=True)
        for other, weight in update.before:
            self.pair(other, weight, update.ts_ms, after=False)

    def copy(self) -> TrendAccumulator:
        """Return a copy that does not move with this one."""
        pairs = dict(self.pairs) if self.pairs is not None else None
        return replace(self, pairs=pairs, origin_counts=list(self.origin_counts))

    def click(self, ts_ms: int, code: EventCode = EventCode.VIEW, *, origin: ClickOrigin) -> None:
        """Count a click of any type; a view also counts as a view."""
        self.origin_counts[origin] += 1
        gain, recent_gain = self._gains(ts_ms)  # first: it may scale the sums that it is added to
        self.popularity += gain
        self.recent += recent_gain
        if code is EventCode.VIEW:
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
