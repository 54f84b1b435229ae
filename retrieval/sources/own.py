"""What a visitor looked at on earlier visits and did not buy, before the first click of this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, best_first


class Sizes(Group):
    own: int = Field(
        default=10,
        ge=0,
        le=200,
        description="Items that a user looked at on earlier visits and did not buy, before the"
        " first click of a visit; 0 for news.",
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    own_rank: Float32s
    """(c,) place among the user's own items, what counts most first."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    catalogue, own = batch.state.catalogue, batch.contexts.own
    if own is None or not sizes.own or not catalogue.count:
        return NOTHING
    return best_first(catalogue, np.arange(len(own), dtype=np.int32), catalogue.rows_of(own)[:, : sizes.own])


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(own_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.own_rank >= 0


SOURCE = Source(
    name="own",
    brings="what the user looked at on earlier visits and did not buy, before the first click",
    settings=("own",),
    rung=Rung.TRENDING,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
