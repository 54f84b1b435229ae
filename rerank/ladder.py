"""The rungs under a deadline: what is left out when time is short, judged by what each step took lately."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.sources import Rung

__all__ = ["Ladder", "Rung", "Stopwatch"]

_LEARNING = 0.1
_FORGETTING = 0.98
"""Kept of a cost whenever its step is skipped: a step that is never tried again could not show that it became fast."""
_CAUTION = 1.5
"""Steps are planned with this many times their usual cost."""
_OUTLIER = 5.0
"""A step that was held up (a pause of the machine) counts as at most this many times its usual cost."""


class Ladder:
    """Chooses how far to climb in the time that is left. Learns the cost of its steps.

    Costs are kept by the size of a batch: eight queries together take about twice as long as one, not eight times.
    `search_s`, `rank_s` and `finish_s` are what one query alone is taken to cost before anything was measured.
    """

    def __init__(self, *, search_s: float = 5e-4, rank_s: float = 6e-4, finish_s: float = 3e-4) -> None:
        self._search, self._rank, self._finish = _Cost(search_s), _Cost(rank_s), _Cost(finish_s)

    def retrieve_up_to(self, left_s: float, queries: int) -> Rung:
        """Return the highest rung there is time for: nearest items take a whole search, co-visited ones half of it."""
        left_s -= self._finish.planned(queries)
        search_s = self._search.planned(queries)
        if left_s >= search_s:
            return Rung.RERANKED
        self._search.skipped(queries)
        return Rung.CO_VISITATION if left_s >= search_s / 2 else Rung.TRENDING

    def may_rank(self, left_s: float, queries: int) -> bool:
        """Return whether there is time to compute features and score."""
        if left_s >= self._rank.planned(queries) + self._finish.planned(queries):
            return True
        self._rank.skipped(queries)
        return False

    def searched(self, seconds: float, queries: int) -> None:
        """Learn from a full retrieval."""
        self._search.measured(seconds, queries)

    def ranked(self, seconds: float, queries: int) -> None:
        """Learn from features and scoring."""
        self._rank.measured(seconds, queries)

    def finished(self, seconds: float, queries: int) -> None:
        """Learn from rules and reasons."""
        self._finish.measured(seconds, queries)


class _Cost:
    """What a step usually takes, in seconds a query, by size of the batch in powers of two."""

    def __init__(self, alone_s: float) -> None:
        self._usual_s = {1: alone_s}

    def planned(self, queries: int) -> float:
        """Return the seconds to plan with for a batch of so many queries."""
        return _CAUTION * queries * self._usual_s[self._nearest(queries)]

    def measured(self, seconds: float, queries: int) -> None:
        """Learn what a batch took."""
        usual_s, measured_s = self._usual_s[self._nearest(queries)], seconds / queries
        learnt_s = usual_s + _LEARNING * (min(measured_s, _OUTLIER * usual_s) - usual_s)
        self._usual_s[queries.bit_length()] = learnt_s

    def skipped(self, queries: int) -> None:
        """Forget a little of what kept the step from being tried."""
        self._usual_s[queries.bit_length()] = _FORGETTING * self._usual_s[self._nearest(queries)]

    def _nearest(self, queries: int) -> int:
        """Return the size to judge by: this one, else the next smaller one that was measured."""
        size = queries.bit_length()
        while size not in self._usual_s:
            size -= 1
        return size


class Stopwatch:
    """Times consecutive stages on a clock that is handed in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self.seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End the stage that began at the last lap."""
        now = self._clock()
        self.seconds[stage] = now - self._at
        self._at = now

    @property
    def at(self) -> float:
        """When the last stage ended, in seconds of the clock."""
        return self._at

    @property
    def timings_us(self) -> dict[str, int]:
        return {stage: round(seconds * 1e6) for stage, seconds in self.seconds.items()}
