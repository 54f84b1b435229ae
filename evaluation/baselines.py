"""Baselines that any model has to beat. They learn test-then-train: predict the next click, then learn from it.

All three keep exponentially decayed weights. Instead of decaying every weight as time goes by, a new click weighs
more than the ones before it (forward decay, Cormode et al., ICDE 2009), so that only what is clicked changes, and
the best items can be kept in order exactly.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import inf
from typing import Protocol

HOUR_MS = 3_600_000
_RESCALE_AT = 900.0
"""Exponent (base 2) at which forward weights are scaled back; a double ends at 2**1024."""


class Baseline(Protocol):
    """Learns clicks one after the other, and predicts a session's next item at any moment between them."""

    name: str

    def learn(self, session_id: str, item: str, ts_ms: int) -> None:
        """Take one click. Clicks come in time order."""

    def predict(self, session_items: Sequence[str], ts_ms: int, k: int) -> list[str]:
        """Return up to k distinct items, best first. `session_items` are the session's clicks, oldest first."""


class _Weights:
    """Weights that only grow, with their `kept` largest in order. Exact: what is not touched cannot rise."""

    __slots__ = ("_best", "_kept", "weights")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._best: list[tuple[float, str]] = []  # ascending
        self.weights: dict[str, float] = {}

    def grow(self, item: str, by: float) -> None:
        before = self.weights.get(item, 0.0)
        after = before + by
        self.weights[item] = after
        best = self._best
        at = bisect_left(best, (before, item))
        if at < len(best) and best[at] == (before, item):
            del best[at]
        elif len(best) >= self._kept:
            if (after, item) <= best[0]:
                return
            del best[0]
        insort(best, (after, item))

    def scale(self, by: float) -> None:
        self.weights = {item: weight * by for item, weight in self.weights.items()}
        self._best = sorted((weight * by, item) for weight, item in self._best)

    def trim(self) -> None:
        """Forget everything but the largest weights kept in order."""
        self.weights = {item: weight for weight, item in self._best}

    def best(self, k: int) -> list[tuple[float, str]]:
        """The k largest, descending."""
        return self._best[: -k - 1 : -1]


class _Clock:
    """Forward decay: the weight of a click now, relative to one at the clock's origin."""

    __slots__ = ("_half_life_ms", "_origin_ms")

    def __init__(self, half_life_ms: float) -> None:
        self._half_life_ms = half_life_ms
        self._origin_ms: int | None = None

    def weight(self, ts_ms: int) -> float:
        if self._origin_ms is None:
            self._origin_ms = ts_ms
        exponent = (ts_ms - self._origin_ms) / self._half_life_ms
        return float(2.0 ** max(exponent, -_RESCALE_AT))

    def overdue(self, ts_ms: int) -> float:
        """Return the factor to scale all weights by when they are about to overflow, else 0."""
        if self._origin_ms is None or (ts_ms - self._origin_ms) / self._half_life_ms < _RESCALE_AT:
            return 0.0
        factor = float(2.0 ** max(-(ts_ms - self._origin_ms) / self._half_life_ms, -1070.0))
        self._origin_ms = ts_ms
        return factor


class RecentPopularity:
    """The items clicked most lately: every click counts half as much after `half_life_ms`."""

    name = "recent popularity"

    def __init__(self, half_life_ms: float = HOUR_MS, *, kept: int = 400) -> None:
        """`kept` bounds the k that can be asked for."""
        self._clock = _Clock(half_life_ms)
        self._weights = _Weights(kept)

    def learn(self, session_id: str, item: str, ts_ms: int) -> None:
        factor = self._clock.overdue(ts_ms)
        if factor:
            self._weights.scale(factor)
        self._weights.grow(item, self._clock.weight(ts_ms))

    def predict(self, session_items: Sequence[str], ts_ms: int, k: int) -> list[str]:
        return [item for _, item in self._weights.best(k)]


class Popularity(RecentPopularity):
    """The items clicked most since the beginning."""

    name = "popularity"

    def __init__(self, *, kept: int = 400) -> None:
        super().__init__(inf, kept=kept)


class CoVisitation:
    """Items clicked after the session's last ones, in other sessions: decayed item-to-item counts.

    A click adds, for each of the session's `reach` clicks before it, 1 / distance to (before -> clicked) and
    `backward` / distance to the opposite pair. A prediction sums the neighbours of the session's last `reach`
    items, the j-th last one divided by j, each item's neighbours as shares of its whole weight. Where that is fewer
    than k items, recent popularity fills up. The session's last item is not predicted.
    """

    name = "co-visitation"

    def __init__(
        self,
        half_life_ms: float = 24 * HOUR_MS,
        *,
        reach: int = 3,
        backward: float = 0.5,
        kept: int = 100,
        sessions: int = 200_000,
        fill_half_life_ms: float = HOUR_MS,
    ) -> None:
        """`kept` neighbours are ranked per item; the last `sessions` sessions to click are remembered."""
        self._clock = _Clock(half_life_ms)
        self._reach, self._backward, self._kept, self._max_sessions = reach, backward, kept, sessions
        self._neighbours: dict[str, _Weights] = {}
        self._recent: dict[str, list[str]] = {}
        self._fill = RecentPopularity(fill_half_life_ms)

    def learn(self, session_id: str, item: str, ts_ms: int) -> None:
        self._fill.learn(session_id, item, ts_ms)
        factor = self._clock.overdue(ts_ms)
        if factor:
            for neighbours in self._neighbours.values():
                neighbours.scale(factor)
        weight = self._clock.weight(ts_ms)
        before = self._recent.pop(session_id, [])
        for distance, earlier in enumerate(reversed(before), start=1):
            if earlier != item:
                self._pair(earlier, item, weight / distance)
                self._pair(item, earlier, self._backward * weight / distance)
        self._recent[session_id] = [*before[1 - self._reach :], item] if self._reach > 1 else [item]
        if len(self._recent) > self._max_sessions:
            del self._recent[next(iter(self._recent))]

    def predict(self, session_items: Sequence[str], ts_ms: int, k: int) -> list[str]:
        votes: dict[str, float] = {}
        last = session_items[-1] if session_items else None
        for distance, item in enumerate(reversed(session_items[-self._reach :]), start=1):
            neighbours = self._neighbours.get(item)
            if neighbours is None:
                continue
            best = neighbours.best(self._kept)
            whole = sum(weight for weight, _ in best) * distance
            if not whole:
                continue
            for weight, other in best:
                if other != last:
                    votes[other] = votes.get(other, 0.0) + weight / whole
        ranked = sorted(votes, key=lambda item: (-votes[item], item))[:k]
        if len(ranked) < k:
            taken = {*ranked, last}
            fill = (item for item in self._fill.predict(session_items, ts_ms, 2 * k + 1) if item not in taken)
            ranked.extend(item for item, _ in zip(fill, range(k - len(ranked)), strict=False))
        return ranked

    def _pair(self, item: str, other: str, weight: float) -> None:
        neighbours = self._neighbours.get(item)
        if neighbours is None:
            neighbours = self._neighbours[item] = _Weights(self._kept)
        neighbours.grow(other, weight)
        if len(neighbours.weights) > 8 * self._kept:
            neighbours.trim()
