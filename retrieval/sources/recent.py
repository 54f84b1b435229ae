"""The items that were clicked most in the last minutes, by the fast pace of the trends."""

from __future__ import annotations

from dataclasses import dataclass

from numpy import intp
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, to_every_request


class Sizes(Group):
    recent: int = Field(default=20, ge=0, le=500, description="Candidates clicked most lately.")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    recent_rank: Float32s
    """(c,) place among what was clicked most lately, 0 first."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    return to_every_request(batch, batch.state.trends.recent(batch.now_ms, sizes.recent))


def lay_out(found: RankedEntries, place: NDArray[intp], n: int) -> Numbers:
    return Numbers(recent_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.recent_rank >= 0


SOURCE = Source(
    name="recent",
    brings="items clicked most lately",
    settings=("recent",),
    rung=Rung.CO_VISITATION,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
