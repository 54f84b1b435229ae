"""Interleaving: two rankings on one page, a click credits the ranking that brought the item. Pure.

Team draft (Radlinski, Kurup and Joachims 2008): in each round a coin says which ranking picks first; each picks its
best item that is not on the page yet. numpy only: what serves may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def team_draft(
    first: Sequence[str], second: Sequence[str], count: int, rng: np.random.Generator
) -> tuple[list[str], list[int]]:
    """Return `count` items at most, and whose each is: 0 of the first ranking, 1 of the second."""
    page: dict[str, int] = {}
    left = (iter(first), iter(second))
    while len(page) < count:
        before, leader = len(page), int(rng.integers(2))
        for team in (leader, 1 - leader):
            item = next((item for item in left[team] if item not in page), None)
            if item is not None and len(page) < count:
                page[item] = team
        if len(page) == before:
            break
    return list(page), list(page.values())


def credit(page: Sequence[str], teams: Sequence[int], clicked: Iterable[str]) -> int:
    """Return clicks of the second ranking less those of the first; items that the page did not hold count for none."""
    of = dict(zip(page, teams, strict=True))
    return sum(2 * of[item] - 1 for item in set(clicked) if item in of)
