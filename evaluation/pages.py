"""What pages are like, page by page: pure functions of pages (c, k), places in an item list, -1 for no item.

A page of which a figure cannot be told (no item of it has a price, say) has NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int32]
"""(c, k) or (c, w) places in an item list; -1: no item."""
Float64s = NDArray[np.float64]
Mask = NDArray[np.bool_]


def among(pages: Places, others: Places) -> Mask:
    """Return which items of each page (c, k) stand in the same row of `others` (c, w)."""
    found = np.zeros(pages.shape, np.bool_)
    for at in range(others.shape[1]):
        found |= pages == others[:, at : at + 1]
    return found & (pages >= 0)


def average_precision(pages: Places, wanted: Places) -> Float64s:
    """Return average precision (c,) over the items wanted (c, w), distinct in a row, of which at most k can be shown.

    NaN for a page of which nothing is wanted. Its mean is MAP@k.
    """
    hit = among(pages, wanted)
    precision = np.cumsum(hit, axis=1) / np.arange(1, pages.shape[1] + 1)  # (c, k)
    most = np.minimum((wanted >= 0).sum(axis=1), pages.shape[1])
    return _over((precision * hit).sum(axis=1), most)


def diversity(pages: Places, vectors: NDArray[np.float32]) -> Float64s:
    """Return intra-list diversity (c,): the mean of 1 - cosine between two items of a page (Ziegler et al., WWW 2005).

    `vectors` (n, d) are unit, zeros where an item has none; such items are passed over.
    """
    found = np.full(len(pages), np.nan)
    for at, page in enumerate(pages):
        rows = vectors[page[page >= 0]].astype(np.float64)
        rows = rows[np.any(rows != 0.0, axis=1)]
        if len(rows) > 1:
            pairs = len(rows) * (len(rows) - 1)
            found[at] = 1.0 - (np.square(rows.sum(axis=0)).sum() - np.square(rows).sum()) / pairs
    return found


def novelty(pages: Places, clicks: NDArray[np.int64]) -> Float64s:
    """Return the mean over a page's items of -log2 of their share of all clicks (n,), in bits (Zhou et al., PNAS 2010).

    An item without a click counts as if it had one.
    """
    counts = np.maximum(clicks, 1).astype(np.float64)
    return mean_of(pages, -np.log2(counts / counts.sum())) if len(counts) else np.full(len(pages), np.nan)


def serendipity(pages: Places, wanted: Places, expected: Places) -> Float64s:
    """Return the share of a page's items (c,) that were wanted and that a plain list of the most popular items,
    `expected` (e,), would not have shown (Ge et al., RecSys 2010).
    """
    shown = pages >= 0
    surprising = among(pages, wanted) & ~np.isin(pages, expected[expected >= 0])
    return _over(surprising.sum(axis=1), shown.sum(axis=1))


def mean_of(pages: Places, values: Float64s) -> Float64s:
    """Return the mean of what is known of a page's items, (c,): `values` (n,) are NaN where they are unknown."""
    known, found = _taken(pages, values)
    return _over(found.sum(axis=1), known.sum(axis=1))


def total_of(pages: Places, counted: Mask, values: Float64s) -> Float64s:
    """Return the sum of `values` (n,) over a page's `counted` items (c, k); unknown ones add nothing."""
    _, found = _taken(pages, values)
    totals: Float64s = (found * counted).sum(axis=1)
    return totals


def exposure(pages: Places, groups: NDArray[np.int64], count: int) -> Float64s:
    """Return how many items of each page belong to each group, (c, count). `groups` (n,): 0 to count - 1; -1: none."""
    found = np.zeros((len(pages), count))
    at, place = np.nonzero(pages >= 0)
    group = groups[pages[at, place]]
    np.add.at(found, (at[group >= 0], group[group >= 0]), 1.0)
    return found


def gini(shares: Float64s) -> Float64s:
    """Return how unequally the last axis (..., g) is spread: 0 all alike, 1 - 1/g all with one (Gini 1912).

    NaN where there is nothing to spread.
    """
    ordered = np.sort(np.asarray(shares, np.float64), axis=-1)
    count = ordered.shape[-1]
    weights = 2.0 * np.arange(1, count + 1) - count - 1.0
    return _over(ordered @ weights, count * ordered.sum(axis=-1))


def _taken(pages: Places, values: Float64s) -> tuple[Mask, Float64s]:
    """Return where a page's items have a value (c, k), and the values, 0 where not."""
    if not len(values):
        return np.zeros(pages.shape, np.bool_), np.zeros(pages.shape)
    found = values[np.maximum(pages, 0)]  # (c, k)
    known = (pages >= 0) & ~np.isnan(found)
    return known, np.where(known, found, 0.0)


def _over(sums: NDArray[Any], counts: NDArray[Any]) -> Float64s:
    whole: Float64s = np.where(counts > 0, sums / np.maximum(counts, 1e-300), np.nan)
    return whole
