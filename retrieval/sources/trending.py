"""What trends: the most popular items of the whole site, by decayed clicks."""

from __future__ import annotations

from dataclasses import dataclass

from numpy import intp
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, to_every_request


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
    return to_every_request(batch, batch.state.trends.trending(batch.now_ms, k))


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
