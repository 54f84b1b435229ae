"""What a candidate would have answered, beside what was: two pages compared, and the sums of many. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rerank.pipeline import RankedItem

TOP: Final = 10
LEAST_COMMON: Final = 3
"""Items on both pages; with fewer there is no rank correlation."""


@dataclass(frozen=True, slots=True)
class Compared:
    """`overlap`: share of the first ten items that both have. `correlation`: Spearman's, of the items on both pages,
    NaN with fewer than three. `difference`: mean of the scores' absolute differences of these, NaN without one.
    """

    overlap: float
    correlation: float
    difference: float


def compared(shown: Sequence[RankedItem], candidate: Sequence[RankedItem]) -> Compared:
    """Compare a page that was shown with the candidate's."""
    first, second = ([one.item_id for one in page[:TOP]] for page in (shown, candidate))
    most = max(len(first), len(second))
    overlap = len(set(first) & set(second)) / most if most else 1.0
    place = {one.item_id: at for at, one in enumerate(candidate)}
    common = [one for one in shown if one.item_id in place]
    if not common:
        return Compared(overlap, math.nan, math.nan)
    scores = {one.item_id: one.score for one in candidate}
    difference = sum(abs(one.score - scores[one.item_id]) for one in common) / len(common)
    theirs = np.argsort(np.argsort([place[one.item_id] for one in common]))
    n = len(common)
    apart = float(np.sum((theirs - np.arange(n)) ** 2))
    correlation = 1.0 - 6.0 * apart / (n * (n * n - 1)) if n >= LEAST_COMMON else math.nan
    return Compared(overlap, correlation, difference)


class Sums:
    """Sums over pages, by name, as they are kept in Redis; `correlated` and `common` are pages that had a figure."""

    NAMES: Final = ("answers", "overlap", "correlation", "correlated", "difference", "common")

    def __init__(self) -> None:
        self.by_name = dict.fromkeys(self.NAMES, 0.0)

    def add(self, one: Compared) -> None:
        held = self.by_name
        held["answers"] += 1
        held["overlap"] += one.overlap
        if not math.isnan(one.correlation):
            held["correlation"] += one.correlation
            held["correlated"] += 1
        if not math.isnan(one.difference):
            held["difference"] += one.difference
            held["common"] += 1
