"""What is popular with visitors of somebody's region, device and age: for a request that knows nothing else of them.

How much more a group clicks an item than all visitors do is its lift (`retrieval.group_lifts`). A visitor of several
groups gets the product of their lifts (naive Bayes), times the item's share of all clicks.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.group_lifts import LEAST_SHARE, PRIOR_CLICKS, category_lifts, own_shares
from retrieval.groups import Groups
from retrieval.key_rows import Rows
from retrieval.trend_columns import BOTH, TrendColumns

Float64s = NDArray[np.float64]

ALIKE_WORTH: Final = 0.95
"""What an item is worth less for each item of its category that stands before it."""
_TRENDING: Final = 300
"""What trends for all that is looked at beside what the groups click."""
_MADE_EVERY_MS: Final = 1000
_KEPT: Final = 1024
_LONGEST: Final = 300
"""Items of a list that is kept: three times the longest page."""


class Popular(msgspec.Struct, frozen=True):
    """What is popular in a visitor's groups, best first, mixed by category."""

    rows: Rows
    """(n,) catalogue rows of items that are alive."""
    liked: frozenset[int]
    """Rows of those that the groups click more than all visitors do, each by itself and not by its category alone."""


class PopularLists:
    """What is popular in groups, made anew once a second at most, as what trends is; `_KEPT` lists at most. For one
    thread. An item that went in the meantime is still in its list.
    """

    def __init__(self, trends: TrendColumns, catalogue: CatalogueColumns) -> None:
        self._trends, self._catalogue = trends, catalogue
        self._made_ms = 0
        self._lists: dict[Groups, Popular | None] = {}

    def of(self, groups: Groups, now_ms: int) -> Popular | None:
        """Return the best items of these groups: see `popular_in`."""
        if not 0 <= now_ms - self._made_ms < _MADE_EVERY_MS or len(self._lists) >= _KEPT:
            self._lists, self._made_ms = {}, now_ms
        if groups not in self._lists:
            self._lists[groups] = popular_in(groups, self._trends, self._catalogue, now_ms, _LONGEST)
        return self._lists[groups]


def popular_in(
    groups: Groups, trends: TrendColumns, catalogue: CatalogueColumns, now_ms: int, k: int
) -> Popular | None:
    """Return the `k` best items of these groups; None where no click of any of them was counted."""
    at = trends.rows_of(np.array(groups, np.uint64))
    at = at[at >= 0]
    if not len(at):
        return None
    neighbours, shares = trends.neighbours_at(at)  # (g, m), (g, m, 4)
    keys = np.unique(np.concatenate([neighbours[shares[:, :, BOTH] > 0], trends.trending(now_ms, _TRENDING)]))
    rows = catalogue.rows_of(keys)
    here = np.flatnonzero(rows >= 0)
    here = here[catalogue.alive[rows[here]]]
    keys, rows = keys[here], rows[here]
    overall = np.maximum(trends.click_shares(keys, now_ms), LEAST_SHARE)  # (n,)
    lift, clicked_more = np.zeros(len(keys)), np.zeros(len(keys), np.bool_)
    clicks = trends.popularity_at(at, now_ms).astype(np.float64)  # (g,)
    surest = trends.rules.neighbours - trends.rules.recent_neighbours
    for group in range(len(at)):
        own = own_shares(keys, overall, neighbours[group], shares[group, :, BOTH].astype(np.float64), surest)
        made, expected = clicks[group] * own, clicks[group] * overall
        category = catalogue.category[rows]
        prior = PRIOR_CLICKS * category_lifts(made, expected, category, category)
        clicked_more |= made > expected
        lift += np.log((made + prior) / (expected + PRIOR_CLICKS))
    order = _mixed(np.log(overall) + lift, catalogue.category[rows])[:k]
    return Popular(rows[order].astype(np.int32), frozenset(rows[(lift > 0) & clicked_more].tolist()))


def _mixed(scores: Float64s, category: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return places (n,) by falling log score, less what those of one category lose: see ALIKE_WORTH."""
    order = np.argsort(-scores, kind="stable")
    by_category = np.argsort(category[order], kind="stable")
    starts = np.flatnonzero(np.diff(category[order][by_category], prepend=-2))
    within = np.empty(len(order), np.int64)
    within[by_category] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    within[category[order] == NO_CODE] = 0
    lost = scores[order] + within * np.log(ALIKE_WORTH)
    return order[np.argsort(-lost, kind="stable")]
