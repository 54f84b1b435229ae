"""The items nearest to the session's vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, best_first

NO_FILTERS = ()


class Sizes(Group):
    nearest: int = Field(default=60, ge=0, le=500, description="Candidates nearest to the session's vector.")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    nearest_rank: Float32s
    """(c,) place among the nearest items, 0 first."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    """Search for twice as many as the longest page holds at least: the rules will drop some."""
    contexts, state = batch.contexts, batch.state
    known, listed = contexts.has_query.tolist(), batch.listed.tolist()
    asked = [at for at, is_known in enumerate(known) if is_known and not listed[at]]
    if not sizes.nearest or not asked or not len(state.index):
        return NOTHING
    wanted = [batch.filters[request] for request in asked] if batch.filters else NO_FILTERS
    k = max(sizes.nearest, 2 * batch.longest)
    queries = contexts.queries if len(asked) == len(known) else contexts.queries[asked]
    rows, _ = state.index.search(queries, k, wanted)  # (a, k)
    return best_first(state.catalogue, np.array(asked, np.int32), rows)


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(nearest_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.nearest_rank >= 0


SOURCE = Source(
    name="nearest",
    brings="items nearest to the session's vector",
    settings=("nearest",),
    rung=Rung.RETRIEVAL_ORDER,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
