"""What trends: the most popular items of the whole site, by decayed clicks, or of a visitor's groups where nothing but
those is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import intp
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import (
    NOTHING,
    Batch,
    Float32s,
    Mask,
    RankedEntries,
    Rung,
    Source,
    best_first,
    to_every_request,
)


class Sizes(Group):
    trending: int = Field(default=20, ge=0, le=500, description="Trending candidates.")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    trending_rank: Float32s
    """(c,) place among what trends, 0 first."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    """Bring three pages' worth at least where a page may have nothing else: a visitor of whom nothing is known, or a
    rung without a search.
    """
    alone = batch.rung <= Rung.CO_VISITATION or 0 in batch.contexts.lengths.tolist()
    k = max(sizes.trending, 3 * batch.longest) if alone else sizes.trending
    if batch.contexts.popular is not None:
        return _by_groups(batch, k)
    return to_every_request(batch, batch.state.trends.trending(batch.now_ms, k))


def _by_groups(batch: Batch, k: int) -> RankedEntries:
    """Return what is popular in each visitor's groups, and what trends for the others. Of a request with a filter, all
    that is known to be popular there: its rules drop the rest.
    """
    catalogue, popular = batch.state.catalogue, batch.contexts.popular or ()
    trending = catalogue.rows_of(batch.state.trends.trending(batch.now_ms, k))
    lists = [
        trending if here is None else here.rows if batch.filters and batch.filters[request] else here.rows[:k]
        for request, here in enumerate(popular)
    ]
    rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int32)
    for request, best in enumerate(lists):
        rows[request, : len(best)] = best
    return best_first(catalogue, np.arange(len(rows), dtype=np.int32), rows)


def lay_out(found: RankedEntries, place: NDArray[intp], n: int) -> Numbers:
    return Numbers(trending_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.trending_rank >= 0


SOURCE = Source(
    name="trending",
    brings="what trends",
    settings=("trending",),
    rung=Rung.TRENDING,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
