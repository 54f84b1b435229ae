"""The items that the session itself clicked, where they may be shown again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from compiled.kernels import kernel, reads, writes
from contracts.settings import Group
from retrieval.key_rows import Rows
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, best_first


class Sizes(Group):
    window: int = Field(
        default=20,
        ge=0,
        le=50,
        description="Last clicks whose own items are candidates, where `leave_out_seen` lets them be shown again.",
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    window_rank: Float32s
    """(c,) place of its newest click in the session's window, 0 the newest."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    """Bring the items of the newest clicks, each at its newest."""
    catalogue, contexts = batch.state.catalogue, batch.contexts
    if not sizes.window or not catalogue.count or True not in batch.shows_seen.tolist():
        return NOTHING
    shown = np.full((len(contexts), min(sizes.window, contexts.rows.shape[1])), np.int32(-1))  # (b, w)
    _newest_of_each(contexts.rows, batch.shows_seen, batch.listed, shown)
    return best_first(catalogue, np.arange(len(contexts), dtype=np.int32), shown)


@kernel(reads("i4", 2), reads("?"), reads("?"), writes("i4", 2))
def _newest_of_each(rows: Rows, shows_seen: Mask, listed: Mask, shown: Rows) -> None:
    """Write the rows of every request that may show them, each at its newest click."""
    for request in range(shown.shape[0]):
        if not shows_seen[request] or listed[request]:
            continue
        for at in range(shown.shape[1]):
            is_new = True
            for newer in range(at):
                is_new = is_new and rows[request, newer] != rows[request, at]
            if is_new:
                shown[request, at] = rows[request, at]


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(window_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.window_rank >= 0


SOURCE = Source(
    name="window",
    brings="the session's own items, where the placement shows them again",
    settings=("window",),
    rung=Rung.TRENDING,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
