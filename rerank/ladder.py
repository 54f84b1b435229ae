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
    """Chooses how far to climb in the time that is left. Learns the cost of its steps, in seconds a query."""

    def __init__(self, *, search_s: float = 5e-4, rank_s: float = 6e-4, finish_s: float = 3e-4) -> None:
        self._search_s, self._rank_s, self._finish_s = search_s, rank_s, finish_s

    def retrieve_up_to(self, left_s: float, queries: int) -> Rung:
        """Return the highest rung there is time for: nearest items take a whole search, co-visited ones half of it."""
        left_s -= self._planned(self._finish_s, queries)
        search_s = self._planned(self._search_s, queries)
        if left_s >= search_s:
            return Rung.RERANKED
        self._search_s *= _FORGETTING
        return Rung.CO_VISITATION if left_s >= search_s / 2 else Rung.TRENDING

    def may_rank(self, left_s: float, queries: int) -> bool:
        """Return whether there is time to compute features and score."""
        if left_s >= self._planned(self._rank_s, queries) + self._planned(self._finish_s, queries):
            return True
        self._rank_s *= _FORGETTING
        return False

    def searched(self, seconds: float, queries: int) -> None:
        """Learn from a full retrieval."""
        self._search_s = _learnt(self._search_s, seconds / queries)

    def ranked(self, seconds: float, queries: int) -> None:
        """Learn from features and scoring."""
        self._rank_s = _learnt(self._rank_s, seconds / queries)

    def finished(self, seconds: float, queries: int) -> None:
        """Learn from rules and reasons."""
        self._finish_s = _learnt(self._finish_s, seconds / queries)

    @staticmethod
    def _planned(per_query_s: float, queries: int) -> float:
        return _CAUTION * per_query_s * queries


def _learnt(usual_s: float, measured_s: float) -> float:
    return usual_s + _LEARNING * (min(measured_s, _OUTLIER * usual_s) - usual_s)


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
