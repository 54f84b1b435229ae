"""Co-visitation: what is viewed together with a session's last clicks, over all and lately, and what each of these
clicks says about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import Batch, Float32s, Found, Mask, Rung, Source, laid_out
from retrieval.trend_columns import AFTER, BOTH, PAIR_SHARES, RECENT


class Sizes(Group):
    covisit_clicks: int = Field(
        default=4, ge=0, le=50, description="Last clicks whose co-visited items are candidates."
    )
    covisit: int = Field(default=20, ge=0, le=50, description="Co-visited items of each of those clicks.")
    covisit_recent: int = Field(
        default=20, ge=0, le=50, description="Items co-visited lately, of each of those clicks."
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """NaN: no suggestion of that kind."""

    covisit_from: NDArray[np.int8]
    """(c,) window entry that suggests it most, -1 for none."""
    covisit_last: Float32s
    """(c,) share of the newest item's clicks that this item goes with."""
    covisit_last_rank: Float32s
    """(c,) place among the newest item's neighbours, 0 first."""
    covisit: Float32s
    """(c,) shares over the last clicks, the j-th (from 1, newest first) divided by j. 0 if none."""
    covisit_count: Float32s
    """(c,) how many of the last clicks suggest it."""
    after_last: Float32s
    """(c,) as `covisit_last`, of what was clicked after it alone."""
    after: Float32s
    """(c,) as `covisit`, of what was clicked after them alone."""
    together_last: Float32s
    """(c,) as `covisit_last`, of recent clicks."""
    together_last_rank: Float32s
    """(c,) as `covisit_last_rank`, of recent clicks."""
    together: Float32s
    """(c,) as `covisit`, of recent clicks."""
    covisit_second: Float32s
    """(c,) as `covisit_last`, of the newest item but one."""
    paired_last: Float32s
    """(c,) `covisit_last` times the root of the newest item's clicks."""
    paired: Float32s
    """(c,) shares over the last clicks, each times the root of its item's clicks. 0 if none."""


@dataclass(frozen=True, slots=True)
class Suggested(Found):
    """What the last clicks of b requests suggest: t entries, one for each neighbour of each click, grouped by request
    and by click, newest first. An item that two clicks suggest has two of them. Brought is what is near enough to the
    top, of either order.
    """

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


NO_SUGGESTIONS = Suggested(
    request=np.zeros(0, np.int32),
    rows=np.zeros(0, np.int32),
    brought=np.zeros(0, np.bool_),
    click=np.zeros(0, np.int8),
    shares=np.zeros((0, PAIR_SHARES), np.float32),
    often=np.zeros(0, np.float32),
    rank=np.zeros(0, np.float32),
    recent_rank=np.zeros(0, np.float32),
)


def bring(batch: Batch, sizes: Sizes) -> Suggested:
    """Return what the last `covisit_clicks` of every window suggest at its request's moment.

    The `covisit` first neighbours of a click are brought, and those that are among the `covisit_recent` first lately.
    A click on an item that a newer click was on brings nothing.
    """
    contexts, catalogue, trends = batch.contexts, batch.state.catalogue, batch.state.trends
    clicks = min(sizes.covisit_clicks, contexts.keys.shape[1])
    if not clicks or not (sizes.covisit or sizes.covisit_recent) or not len(trends) or not catalogue.count:
        return NO_SUGGESTIONS
    keys = contexts.keys[:, :clicks]  # (b, clicks)
    clicked = trends.rows_of(keys.ravel())  # (b * clicks,)
    neighbours, shares = trends.neighbours_at(clicked)
    shape = (*keys.shape, neighbours.shape[1])
    shares = shares.reshape(*shape, PAIR_SHARES)  # (b, clicks, k, 4)
    rows = catalogue.rows_of(neighbours).reshape(shape)  # (b, clicks, k)
    repeated = (keys[:, :, None] == keys[:, None, :]) & np.tri(clicks, k=-1, dtype=np.bool_)
    used = ~repeated.any(axis=2) & (np.arange(clicks) < contexts.lengths[:, None])  # (b, clicks)
    held = (shares[..., BOTH] > 0) & (rows >= 0) & catalogue.alive[rows] & used[:, :, None]
    request, click, rank = np.nonzero(held)
    lately = _rank(shares[..., RECENT])[held]
    often = np.sqrt(trends.popularity_at(clicked, np.repeat(contexts.now_ms, clicks)))  # (b * clicks,)
    return Suggested(
        request=request.astype(np.int32),
        rows=rows[held],
        brought=(rank < sizes.covisit) | (lately < sizes.covisit_recent),
        click=click.astype(np.int8),
        shares=shares[held],
        often=often[request * clicks + click],
        rank=rank.astype(np.float32),
        recent_rank=lately,
    )


def _rank(shares: Float32s) -> Float32s:
    """Return the place of every share among the last axis, largest first; NaN for a share of 0."""
    ranks = np.empty(shares.shape, np.float32)
    order = np.argsort(-shares, axis=-1, kind="stable")
    places = np.broadcast_to(np.arange(shares.shape[-1], dtype=np.float32), shares.shape)
    np.put_along_axis(ranks, order, places, axis=-1)
    return np.where(shares > 0, ranks, np.float32(np.nan))


def lay_out(found: Suggested, place: NDArray[np.intp], n: int) -> Numbers:
    weighted = found.shares / (found.click[:, None] + np.float32(1))  # (t, 4)
    both = weighted[:, BOTH]
    newest, second = found.click == 0, found.click == 1
    last, at = place[newest], found.shares[newest]
    return Numbers(
        covisit_from=_strongest(found, place, n, both),
        covisit_last=laid_out(n, last, at[:, BOTH]),
        covisit_last_rank=laid_out(n, last, found.rank[newest]),
        covisit=_summed(n, place, both),
        covisit_count=_summed(n, place, np.ones(len(place), np.float32)),
        after_last=laid_out(n, last, at[:, AFTER]),
        after=_summed(n, place, weighted[:, AFTER]),
        together_last=laid_out(n, last, at[:, RECENT]),
        together_last_rank=laid_out(n, last, found.recent_rank[newest]),
        together=_summed(n, place, weighted[:, RECENT]),
        covisit_second=laid_out(n, place[second], found.shares[second, BOTH]),
        paired_last=laid_out(n, last, at[:, BOTH] * found.often[newest]),
        paired=_summed(n, place, found.shares[:, BOTH] * found.often),
    )


def _strongest(found: Suggested, place: NDArray[np.intp], n: int, shares: Float32s) -> NDArray[np.int8]:
    """Return the click that suggests each item most, of several the newest, (n,); -1 for none."""
    most = np.zeros(n, np.float32)
    np.maximum.at(most, place, shares)
    strongest = np.flatnonzero(shares >= most[place])[::-1]  # the newest click is written last
    origin = np.full(n, -1, np.int8)
    origin[place[strongest]] = found.click[strongest]
    return origin


def _summed(n: int, place: NDArray[np.intp], values: Float32s) -> Float32s:
    return np.bincount(place, values, n).astype(np.float32)


def knows(numbers: Numbers) -> Mask:
    return numbers.covisit > 0


SOURCE = Source(
    name="covisit",
    brings="items viewed together with the last clicks, over all and lately",
    settings=("covisit_clicks", "covisit", "covisit_recent"),
    rung=Rung.CO_VISITATION,
    numbers=Numbers,
    bring=bring,
    nothing=NO_SUGGESTIONS,
    lay_out=lay_out,
    knows=knows,
    parts=("covisit_recent",),
)
