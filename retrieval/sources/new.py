"""New items, once somebody clicks them: they have no place among what trends yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from compiled.kernels import kernel, reads, writes
from compiled.lookups import row_of
from contracts.settings import Group
from retrieval.key_rows import Keys, Rows
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
    chosen = np.empty(min(sizes.new, len(keys)), np.uint64)
    n = _first_new(*catalogue.slots, catalogue.alive, catalogue.created_ms, keys, now_ms - _NEW_FOR_MS, chosen)
    return to_every_request(batch, chosen[:n])


@kernel(reads("u8"), reads("i4"), reads("?"), reads("i8"), reads("u8"), "i8", writes("u8"))
def _first_new(
    slot_keys: Keys,
    slot_rows: Rows,
    alive: Mask,
    created_ms: NDArray[np.int64],
    keys: Keys,
    after_ms: int,
    chosen: Keys,
) -> int:
    """Choose the first keys whose items are there and were created later than `after_ms`; return how many."""
    n = 0
    for at in range(keys.shape[0]):
        if n == chosen.shape[0]:
            break
        row = row_of(slot_keys, slot_rows, keys[at])
        if row >= 0 and alive[row] and created_ms[row] > after_ms:
            chosen[n] = keys[at]
            n += 1
    return n


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
