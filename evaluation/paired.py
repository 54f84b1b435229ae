"""Figures of two lists of the same pages, and their difference, with bootstrapped intervals. Pure; seeded by `rng`.

A figure is a function of how often each page counts. So one that is no mean over pages, such as the Gini of exposure,
is resampled like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.next_item import Interval
from evaluation.pages import Float64s, Places, gini

Figure = Callable[[Float64s], Float64s]
"""Takes how often each page counts, (r, c), and returns the figure of each such sample, (r,); NaN: it has none."""

RESAMPLES = 1000
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of both lists, and new - old with its interval. NaN: it cannot be told."""

    old: float
    new: float
    change: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.change.low > 0.0 or self.change.high < 0.0


def mean_over(values: Float64s) -> Figure:
    """Return the figure that is the mean of `values` (c,) over those pages that have one."""
    known = ~np.isnan(values)
    sums = np.stack([np.where(known, values, 0.0), known.astype(np.float64)], axis=1)  # (c, 2)

    def figure(times: Float64s) -> Float64s:
        found = times @ sums  # (r, 2)
        return np.where(found[:, 1] > 0, found[:, 0] / np.maximum(found[:, 1], 1.0), np.nan)

    return figure


def gini_over(exposures: Float64s) -> Figure:
    """Return the figure that is the Gini of the summed exposure (c, g)."""
    return lambda times: gini(times @ exposures) if exposures.shape[1] else np.full(len(times), np.nan)


def coverage_over(pages: Places, catalogue_size: int) -> Figure:
    """Return the figure that is the share of a catalogue that any page shows."""
    top = int(pages.max(initial=-1)) + 1

    def figure(times: Float64s) -> Float64s:
        found = np.empty(len(times))
        for at, often in enumerate(times):
            shown = np.zeros(top + 1, np.bool_)
            shown[pages[often > 0]] = True  # -1 is the last one
            found[at] = np.count_nonzero(shown[:top]) / max(1, catalogue_size)
        return found

    return figure


def differences(
    old: Sequence[Figure],
    new: Sequence[Figure],
    session: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> list[Difference]:
    """Return how each figure differs, paired: both lists are resampled alike (Efron 1979).

    `session` (c,) groups the pages: sessions are drawn, and bring all their pages. An interval lies around the
    difference seen: what resampling shifts on average, as it does a coverage, is taken off.
    """
    count = len(session)
    if not count:
        return [Difference(np.nan, np.nan, Interval(np.nan, np.nan, np.nan)) for _ in old]
    _, group = np.unique(session, return_inverse=True)
    drawn = np.concatenate(list(_differences(old, new, group, rng, resamples)))  # (r, m)
    once = np.ones((1, count))
    found = []
    for at, (one, other) in enumerate(zip(old, new, strict=True)):
        before, after = float(one(once)[0]), float(other(once)[0])
        found.append(Difference(before, after, _around(after - before, drawn[:, at])))
    return found


def _differences(
    old: Sequence[Figure], new: Sequence[Figure], group: NDArray[np.int64], rng: np.random.Generator, resamples: int
) -> list[Float64s]:
    groups, found = int(group.max()) + 1, []
    for begin in range(0, resamples, _AT_ONCE):
        drawn = rng.multinomial(groups, np.full(groups, 1.0 / groups), min(_AT_ONCE, resamples - begin))  # (r, groups)
        times = drawn[:, group].astype(np.float64)  # (r, c)
        found.append(np.stack([b(times) - a(times) for a, b in zip(old, new, strict=True)], axis=1))
    return found


def _around(value: float, drawn: Float64s) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(known):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, (0.025, 0.975)) - known.mean()
    return Interval(value, value + float(low), value + float(high))
