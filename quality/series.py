"""Cells by name, in order of time: how many there were between two minutes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Series:
    """Reads cells. Sparse: what is kept grows with the cells, not with the time that they cover."""

    def __init__(self, cells: Mapping[tuple[int, str], int]) -> None:
        by_name: dict[str, dict[int, int]] = defaultdict(dict)
        for (minute, name), count in cells.items():
            by_name[name][minute] = count
        self._series = {name: _summed(counts) for name, counts in by_name.items()}
        self.names = tuple(sorted(self._series))

    def between(self, name: str, first: int, end: int) -> int:
        """Return how many of a name there were from minute `first` up to, not with, minute `end`."""
        if name not in self._series:
            return 0
        minutes, sums = self._series[name]
        low, high = np.searchsorted(minutes, (first, end))
        return int(sums[high] - sums[low])

    def extent(self) -> tuple[int, int] | None:
        """Return the first minute of all, and the one behind the last; None where there is nothing."""
        if not self._series:
            return None
        ends = [(int(minutes[0]), int(minutes[-1])) for minutes, _ in self._series.values()]
        return min(first for first, _ in ends), max(last for _, last in ends) + 1


def _summed(counts: Mapping[int, int]) -> tuple[Ints, Ints]:
    """Return minutes (n,) in order, and what came before each and after the last, (n + 1,)."""
    minutes = np.array(sorted(counts), np.int64)
    sums = np.concatenate([[0], np.cumsum([counts[minute] for minute in minutes.tolist()])]).astype(np.int64)
    return minutes, sums
