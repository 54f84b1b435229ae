"""New items, once somebody clicks them: they have no place among what trends yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, to_every_request

_NEW_FOR_MS = 3 * 3_600_000
"""An item is new for so long."""
_LOOKED_AT = 500
"""New items are looked for among so many that were clicked most lately."""


class Sizes(Group):
    new: int = Field(default=20, ge=0, le=200, description="New items (for three hours), those clicked most lately.")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    new_rank: Float32s
    """(c,) place among what is new, the one clicked most lately first."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    catalogue, now_ms = batch.state.catalogue, batch.now_ms
    if not sizes.new or not catalogue.count:
        return NOTHING
    keys = batch.state.trends.recent(now_ms, _LOOKED_AT)
    rows = catalogue.rows_of(keys)
    new = (rows >= 0) & catalogue.alive[rows] & (now_ms - catalogue.created_ms[rows] < _NEW_FOR_MS)
    return to_every_request(batch, keys[new][: sizes.new])


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(new_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.new_rank >= 0


SOURCE = Source(
    name="new",
    brings="new items that were clicked",
    settings=("new",),
    rung=Rung.RETRIEVAL_ORDER,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
