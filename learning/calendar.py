"""Counts a calendar (`rerank.calendar`) of a recording: by which hours, weekdays and weeks items are clicked.

Of an item, n clicks fell on a place of a cycle where E would have: its clicks, spread as those on all items are, over
the hours of its own lifetime. Its lift is (n + c * L) / (E + c), with L the lift of its category, which is
(n + c) / (E + c) of the category (the shrinker of `retrieval.group_lifts`). Hours and weeks are smoothed over their
neighbours first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.ids import item_key
from rerank.calendar import CYCLES, HOUR_MS, Calendar, Cycle, Lifts
from retrieval.key_rows import Keys

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

LEAST_DAYS: Final[Mapping[str, float]] = {"hour": 2.0, "weekday": 14.0, "season": 360.0}
"""Days that a recording, and an item, must have lived for: two rounds of a cycle, or nearly a year."""
PRIOR_CLICKS: Final = 20.0
LEAST_CLICKS: Final = 10
"""Clicks of an item that has lifts of its own."""
MOST_ITEMS: Final = 50_000
"""Items that have lifts of their own, those clicked most."""
_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Clicked:
    """n clicks of a recording, in any order: `keys` (n,) ItemKeys, `hours` (n,) whole hours since 1970.

    `items` (k,) are the items, ascending; `since` (k,) the hour from which each was there, and `categories` (k,) its
    category path, "" for none.
    """

    keys: Keys
    hours: Int64s
    items: Keys
    since: Int64s
    categories: list[str]


def calendar_of(clicked: Clicked, cycles: tuple[str, ...]) -> Calendar:
    """Return the calendar of a recording of at least one click, with the cycles that it is asked for."""
    which = np.searchsorted(clicked.items, clicked.keys)  # (n,)
    paths, category = np.unique(np.array(clicked.categories, np.str_), return_inverse=True)
    counts = np.bincount(which, minlength=len(clicked.items))
    kept = np.flatnonzero(counts >= LEAST_CLICKS)
    kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:MOST_ITEMS]])
    named = np.array([item_key(path) for path in paths.tolist()], np.uint64)
    order = np.argsort(named)
    order = order[paths[order] != ""]
    lifts = {}
    for name in cycles:
        of_categories = _of_categories(clicked, category[which], len(paths), name)
        prior = np.where((paths == "")[:, None], 1.0, of_categories)[category[kept]]
        of_items = _of_items(clicked, which, kept, name, prior)
        lifts[name] = Lifts(np.log(of_items).astype(np.float16), np.log(of_categories[order]).astype(np.float16))
    return Calendar(clicked.items[kept], named[order], lifts)


def _of_categories(clicked: Clicked, category: Int64s, count: int, name: str) -> Float64s:
    """Return the lifts of categories (m, places): each lives from its first click to its last."""
    first, last = _lifetimes(category, clicked.hours, count)
    if name == "season":
        last = np.full(count, clicked.hours.max())
    made, expected = _counted(category, clicked.hours, clicked.hours, first, last, CYCLES[name])
    lifts: Float64s = (made + PRIOR_CLICKS) / (expected + PRIOR_CLICKS)
    return lifts


def _of_items(clicked: Clicked, which: Int64s, kept: Int64s, name: str, prior: Float64s) -> Float64s:
    """Return the lifts of the items `kept` (k, places), NaN for those that did not live for long enough.

    By hour and weekday an item lives from its first click to its last; what is out of season is not gone, so by season
    it lives from when it came to the end of the recording.
    """
    place = np.full(len(clicked.items), -1, np.int64)
    place[kept] = np.arange(len(kept))
    mine = place[which] >= 0
    owner, hours = place[which][mine], clicked.hours[mine]
    first, last = _lifetimes(owner, hours, len(kept))
    if name == "season":
        first, last = np.minimum(first, clicked.since[kept]), np.full(len(kept), clicked.hours.max())
        first = np.maximum(first, clicked.hours.min())
    made, expected = _counted(owner, hours, clicked.hours, first, last, CYCLES[name])
    lifts = (made + PRIOR_CLICKS * prior) / (expected + PRIOR_CLICKS)
    lifts[(last - first + 1) / 24.0 < LEAST_DAYS[name]] = np.nan
    return lifts


def _lifetimes(owner: Int64s, hours: Int64s, count: int) -> tuple[Int64s, Int64s]:
    """Return the first and the last hour of each owner, (count,); of one without a click, both are that of all."""
    first, last = np.full(count, hours.max(initial=0)), np.full(count, hours.min(initial=0))
    np.minimum.at(first, owner, hours)
    np.maximum.at(last, owner, hours)
    return first, np.maximum(first, last)


def _counted(
    owner: Int64s, hours: Int64s, every: Int64s, first: Int64s, last: Int64s, cycle: Cycle
) -> tuple[Float64s, Float64s]:
    """Return how many clicks of each owner fell on each place (k, places), and how many were expected to.

    `owner` and `hours` are of the clicks counted, `every` the hours of all clicks of the recording.
    """
    begin, count, size = int(every.min()), len(first), cycle.size
    total = np.bincount(every - begin)  # (hours,)
    of_hour = cycle.place_of((begin + np.arange(len(total))) * HOUR_MS)
    summed = np.zeros((len(total) + 1, size))
    summed[np.arange(len(total)) + 1, of_hour] = total
    summed = np.cumsum(summed, axis=0)
    made = np.bincount(owner * size + of_hour[hours - begin], minlength=count * size).reshape(count, size)
    expected = np.empty((count, size))
    for at in range(0, count, _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        there = summed[last[some] + 1 - begin] - summed[first[some] - begin]  # (some, places)
        expected[some] = there / np.maximum(there.sum(axis=1, keepdims=True), 1.0)
    expected *= made.sum(axis=1, keepdims=True)
    return _smoothed(made.astype(np.float64), cycle), _smoothed(expected, cycle)


def _smoothed(counts: Float64s, cycle: Cycle) -> Float64s:
    """Return counts (k, places) over a place and half of its two neighbours; weekdays are as they are."""
    if cycle.size == CYCLES["weekday"].size:
        return counts
    smooth: Float64s = 0.5 * counts + 0.25 * (np.roll(counts, 1, axis=1) + np.roll(counts, -1, axis=1))
    return smooth
