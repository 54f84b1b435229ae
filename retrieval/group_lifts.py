"""How much more a group of visitors (a device, a region) clicks an item than all visitors do, from the trends table.

Of an item, a group made w clicks where E would have been those of all visitors: its lift is (w + c * L) / (E + c), with
L the lift of its category, which is (w + c) / (E + c) of the category. So what is clicked little, or by a small group,
shrinks towards its category, and that towards all visitors (the gamma-Poisson shrinker of DuMouchel, "Bayesian data
mining in large frequency tables", 1999, with priors of a fixed weight).

A group's row names the items that it clicks most (`trend.neighbours`): of others it is known that it clicks them less.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.key_rows import Keys
from retrieval.trend_columns import BOTH, TrendColumns

Float64s = NDArray[np.float64]
Codes = NDArray[np.int32]

PRIOR_CLICKS: Final = 20.0
"""c: decayed clicks on an item, or a category, as all visitors make them, beside those that a group made."""
LEAST_SHARE: Final = 1e-12
"""The share of all clicks that an item without any counts as having."""


def log_lifts(
    group: int, keys: Keys, category: Codes, trends: TrendColumns, catalogue: CatalogueColumns, now_ms: int
) -> tuple[Float64s, Float64s]:
    """Return the log lifts of items (n,), and those of their categories (n,), for the group of trends row `group`.

    `keys` (n,) are ItemKeys, `category` (n,) their codes. One item's lifts do not depend on which others are asked for.
    """
    [neighbours], [shares] = trends.neighbours_at(np.array([group], np.int32))  # (m,), (m, 4)
    own = shares[:, BOTH].astype(np.float64)
    clicks = float(trends.popularity_at(np.array([group], np.int32), now_ms)[0])
    listed = neighbours[own > 0]
    rows = catalogue.rows_of(listed)
    codes = np.where(rows >= 0, catalogue.category[rows] if catalogue.count else NO_CODE, NO_CODE)
    overall = np.maximum(trends.click_shares(np.concatenate([keys, listed]), now_ms), LEAST_SHARE)  # (n + m,)
    ofs_category = category_lifts(clicks * own[own > 0], clicks * overall[len(keys) :], codes, category)
    surest = trends.rules.neighbours - trends.rules.recent_neighbours
    made = clicks * own_shares(keys, overall[: len(keys)], neighbours, own, surest)
    expected = clicks * overall[: len(keys)]
    lifts = (made + PRIOR_CLICKS * ofs_category) / (expected + PRIOR_CLICKS)
    return np.log(lifts), np.log(ofs_category)


def category_lifts(made: Float64s, expected: Float64s, category: Codes, asked: Codes) -> Float64s:
    """Return the lift of each of the categories `asked` (n,): 1 for no category. A group made `made` (m,) clicks on
    items of `category` (m,), where all visitors would have made `expected` (m,).
    """
    longest = 1 + int(max(category.max(initial=NO_CODE), asked.max(initial=NO_CODE)))
    counts = [np.bincount(category, of, minlength=longest) + PRIOR_CLICKS for of in (made, expected)]
    found: Float64s = np.where(asked == NO_CODE, 1.0, (counts[0] / counts[1])[asked])
    return found


def own_shares(keys: Keys, overall: Float64s, neighbours: Keys, shares: Float64s, surest: int) -> Float64s:
    """Return a group's share of each key (n,). Its row names the items clicked most (m,) alone: of another it is known
    that its share is no larger than theirs, and otherwise taken to be that of all visitors.
    """
    listed = shares > 0
    own = np.minimum(overall, shares[surest - 1]) if listed.all() else np.zeros(len(keys))
    named, worth = neighbours[listed], shares[listed]
    order = np.argsort(named)
    named, worth = named[order], worth[order]
    place = np.minimum(np.searchsorted(named, keys), max(len(named) - 1, 0))
    found = named[place] == keys if len(named) else np.zeros(len(keys), np.bool_)
    own[found] = worth[place[found]]
    return own
