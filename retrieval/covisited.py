"""Co-visitation as a source: what goes with a session's last clicks, and what each of them says about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Keys, Rows
from retrieval.trend_columns import AFTER, BOTH, PAIR_SHARES, RECENT, TrendColumns

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Suggested:
    """What the last clicks of b requests suggest: t entries, one for each neighbour of each click, grouped by request
    and by click, newest first. An item that two clicks suggest has two of them.
    """

    request: NDArray[np.int32]
    """(t,)"""
    rows: Rows
    """(t,) catalogue rows of items that are alive."""
    click: NDArray[np.int8]
    """(t,) which click, 0 the newest."""
    shares: Float32s
    """(t, 4) see `TrendColumns.neighbours_at`."""
    often: Float32s
    """(t,) root of the decayed clicks on the click's item."""
    rank: Float32s
    """(t,) place among the click's neighbours, 0 first."""
    recent_rank: Float32s
    """(t,) the same by what goes together lately; NaN where nothing does."""
    brought: NDArray[np.bool_]
    """(t,) near enough to the top, of either order, to be a candidate for that alone."""


NO_SUGGESTIONS = Suggested(
    np.zeros(0, np.int32),
    np.zeros(0, np.int32),
    np.zeros(0, np.int8),
    np.zeros((0, PAIR_SHARES), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.bool_),
)


def suggested(
    keys: Keys,
    lengths: NDArray[np.int32],
    now_ms: NDArray[np.int64],
    catalogue: CatalogueColumns,
    trends: TrendColumns,
    *,
    clicks: int,
    first: int,
    first_recent: int,
) -> Suggested:
    """Return what the last `clicks` of windows (`keys` (b, w), newest first, `lengths` (b,) in use) suggest at `now_ms`
    (b,).

    The `first` neighbours of a click are brought, and those that are among the `first_recent` lately. A click on an
    item that a newer click was on brings nothing.
    """
    clicks = min(clicks, keys.shape[1])
    if not clicks or not (first or first_recent) or not len(trends) or not catalogue.count:
        return NO_SUGGESTIONS
    keys = keys[:, :clicks]  # (b, clicks)
    clicked = trends.rows_of(keys.ravel())  # (b * clicks,)
    neighbours, shares = trends.neighbours_at(clicked)
    shape = (*keys.shape, neighbours.shape[1])
    shares = shares.reshape(*shape, PAIR_SHARES)  # (b, clicks, k, 4)
    rows = catalogue.rows_of(neighbours).reshape(shape)  # (b, clicks, k)
    repeated = (keys[:, :, None] == keys[:, None, :]) & np.tri(clicks, k=-1, dtype=np.bool_)
    used = ~repeated.any(axis=2) & (np.arange(clicks) < lengths[:, None])  # (b, clicks)
    held = (shares[..., BOTH] > 0) & (rows >= 0) & catalogue.alive[rows] & used[:, :, None]
    request, click, rank = np.nonzero(held)
    lately = _rank(shares[..., RECENT])[held]
    often = np.sqrt(trends.popularity_at(clicked, np.repeat(now_ms, clicks)))  # (b * clicks,)
    return Suggested(
        request.astype(np.int32),
        rows[held],
        click.astype(np.int8),
        shares[held],
        often[request * clicks + click],
        rank.astype(np.float32),
        lately,
        (rank < first) | (lately < first_recent),
    )


def _rank(shares: Float32s) -> Float32s:
    """Return the place of every share among the last axis, largest first; NaN for a share of 0."""
    ranks = np.empty(shares.shape, np.float32)
    order = np.argsort(-shares, axis=-1, kind="stable")
    places = np.broadcast_to(np.arange(shares.shape[-1], dtype=np.float32), shares.shape)
    np.put_along_axis(ranks, order, places, axis=-1)
    return np.where(shares > 0, ranks, np.float32(np.nan))


def numbers_of(found: Suggested, place: NDArray[np.intp], c: int) -> tuple[list[Float32s], NDArray[np.int8]]:
    """Return what was suggested by candidate: twelve (c,) numbers in the order of `Candidates`, and the click that
    suggests it most, -1 for none. `place` (t,) says which candidate each entry is of.
    """
    weighted = found.shares / (found.click[:, None] + np.float32(1))  # (t, 4)
    both = weighted[:, BOTH]
    newest = found.click == 0
    last, at = place[newest], found.shares[newest]
    numbers = [
        _laid_out(c, last, at[:, BOTH]),
        _laid_out(c, last, found.rank[newest]),
        _summed(c, place, both),
        _summed(c, place, np.ones(len(place), np.float32)),
        _laid_out(c, last, at[:, AFTER]),
        _summed(c, place, weighted[:, AFTER]),
        _laid_out(c, last, at[:, RECENT]),
        _laid_out(c, last, found.recent_rank[newest]),
        _summed(c, place, weighted[:, RECENT]),
        _laid_out(c, place[found.click == 1], found.shares[found.click == 1, BOTH]),
        _laid_out(c, last, at[:, BOTH] * found.often[newest]),
        _summed(c, place, found.shares[:, BOTH] * found.often),
    ]
    most = np.zeros(c, np.float32)
    np.maximum.at(most, place, both)
    strongest = np.flatnonzero(both >= most[place])[::-1]  # the newest click is written last
    origin = np.full(c, -1, np.int8)
    origin[place[strongest]] = found.click[strongest]
    return numbers, origin


def _laid_out(c: int, place: NDArray[np.intp], values: Float32s) -> Float32s:
    column = np.full(c, np.nan, np.float32)
    column[place] = values
    return column


def _summed(c: int, place: NDArray[np.intp], values: Float32s) -> Float32s:
    return np.bincount(place, values, c).astype(np.float32)
