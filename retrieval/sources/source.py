"""What a candidate source is, what it is asked with, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from compiled.lookups import row_of
from retrieval.catalogue import CatalogueColumns
from retrieval.contexts import Contexts
from retrieval.key_rows import Keys, Rows

if TYPE_CHECKING:
    from retrieval.filters import Filter
    from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Rung(IntEnum):
    """Which stages an answer gets when time is short, the fewest first: what trends alone; co-visited items too; the
    nearest items too, in retrieval order; all of it, re-ranked.
    """

    TRENDING = 0
    CO_VISITATION = 1
    RETRIEVAL_ORDER = 2
    RERANKED = 3


class Batch(msgspec.Struct, frozen=True):
    """b requests, as every source is asked for them."""

    contexts: Contexts
    state: ServingState
    given: Sequence[Rows | None]
    """A request's own list of rows, or None; empty: no request has one."""
    listed: Mask
    """(b,) whether the request has a list of its own."""
    filters: Sequence[Filter | None]
    """What the nearest items of a request must be; empty: anything."""
    shows_seen: Mask
    """(b,) whether the request may be shown what its visitor clicked."""
    rung: Rung
    longest: int
    """Items of the longest page; 0 where no page is laid out, as in training."""
    now_ms: int
    """The newest moment of the batch: what is brought to all is computed once."""


class Found(msgspec.Struct, frozen=True):
    """What one source returns: t entries. A source may return an item more than once; the union keeps one."""

    request: NDArray[np.int32]
    """(t,)"""
    rows: Rows
    """(t,) catalogue rows of items that are alive."""
    brought: Mask | None
    """(t,) which entries are candidates; the others only leave their numbers if another source brings the item. None:
    all are.
    """


class RankedEntries(Found, frozen=True):
    """Entries in an order, each item once a request."""

    rank: Float32s
    """(t,) place in the source's own order, 0 first."""

    def column(self, place: NDArray[np.intp], n: int) -> Float32s:
        """Return the ranks of the n candidates, NaN where the source has none. `place` (t,): see `Source`."""
        return laid_out(n, place, self.rank)


SizesT = TypeVar("SizesT", contravariant=True)
FoundT = TypeVar("FoundT", bound=Found)
NumbersT = TypeVar("NumbersT")


@dataclass(frozen=True, slots=True, eq=False)
class Source(Generic[SizesT, FoundT, NumbersT]):
    """A candidate source: declared once, in a file of its own."""

    name: str
    """In `--without`, in candidate recall and in the docs."""
    brings: str
    """What it brings, as one noun phrase."""
    settings: tuple[str, ...]
    """Fields of its `Sizes` that size it; with the first at 0 it brings nothing. Empty: no setting sizes it."""
    rung: Rung
    """The lowest rung on which it is asked: a source that costs little may stand low."""
    numbers: type[NumbersT]
    """The columns that it leaves beside every candidate, a dataclass without slots."""
    bring: Callable[[Batch, SizesT], FoundT]
    """Returns what it has for a batch."""
    nothing: FoundT
    """What it has when it is not asked."""
    lay_out: Callable[[FoundT, NDArray[np.intp], int], NumbersT]
    """Returns its columns (n,) of the n candidates; `place` (t,) says which of them every entry is, -1 for none."""
    knows: Callable[[NumbersT], Mask]
    """Returns which candidates it has numbers of, (c,): what candidate recall counts."""
    parts: tuple[str, ...] = ()
    """Settings that `--without` can put to 0 by themselves."""


NOTHING = RankedEntries(np.zeros(0, np.int32), np.zeros(0, np.int32), None, np.zeros(0, np.float32))


def best_first(catalogue: CatalogueColumns, requests: NDArray[np.int32], rows: Rows) -> RankedEntries:
    """Return rows (a, k) of the requests (a,), best first, without rows below 0 and items that are gone."""
    rows = np.ascontiguousarray(rows, np.int32)
    found = _room(rows.size)
    n = _best_first(catalogue.alive, np.ascontiguousarray(requests, np.int32), rows, *found)
    return _ranked(found, n)


def to_every_request(batch: Batch, keys: Keys) -> RankedEntries:
    """Return the same items, best first, for every request."""
    catalogue, b = batch.state.catalogue, len(batch.contexts)
    if not len(keys) or not b or not catalogue.count:
        return NOTHING
    found = _room(b * len(keys))
    slot_keys, slot_rows = catalogue.slots
    n = _to_every_request(slot_keys, slot_rows, catalogue.alive, np.ascontiguousarray(keys, np.uint64), b, *found)
    return _ranked(found, n)


def laid_out(n: int, place: NDArray[np.intp], values: Float32s) -> Float32s:
    """Return a column (n,) with the values at their places, NaN elsewhere; those at place -1 are left out."""
    column = np.empty(n, np.float32)
    _lay_out(place, values, column)
    return column


def numbers_of(kind: type[NumbersT], columns: Mapping[str, NDArray[Any]]) -> NumbersT:
    """Return a dataclass of columns, all of them given by name. Its own way sets a frozen one field by field, which
    takes longer than most sources.
    """
    made = kind.__new__(kind)
    made.__dict__.update(columns)
    return made


def _room(entries: int) -> tuple[NDArray[np.int32], Rows, Float32s]:
    """Return arrays for the requests, rows and ranks of so many entries."""
    return np.empty(entries, np.int32), np.empty(entries, np.int32), np.empty(entries, np.float32)


def _ranked(found: tuple[NDArray[np.int32], Rows, Float32s], n: int) -> RankedEntries:
    request, rows, rank = found
    if n == len(rows):
        return RankedEntries(request, rows, None, rank)
    return RankedEntries(request[:n], rows[:n], None, rank[:n])


@kernel(reads("i8"), reads("f4"), writes("f4"))
def _lay_out(place: NDArray[np.intp], values: Float32s, column: Float32s) -> None:
    column[:] = np.nan
    for entry in range(place.shape[0]):
        if place[entry] >= 0:
            column[place[entry]] = values[entry]


@kernel(reads("?"), reads("i4"), reads("i4", 2), writes("i4"), writes("i4"), writes("f4"))
def _best_first(
    alive: Mask, requests: Rows, wanted: NDArray[np.int32], request: Rows, rows: Rows, rank: Float32s
) -> int:
    n = 0
    for at in range(wanted.shape[0]):
        for place in range(wanted.shape[1]):
            row = wanted[at, place]
            if 0 <= row < alive.shape[0] and alive[row]:
                request[n], rows[n], rank[n] = requests[at], row, place
                n += 1
    return n


@kernel(reads("u8"), reads("i4"), reads("?"), reads("u8"), "i8", writes("i4"), writes("i4"), writes("f4"))
def _to_every_request(
    slot_keys: Keys, slot_rows: Rows, alive: Mask, keys: Keys, b: int, request: Rows, rows: Rows, rank: Float32s
) -> int:
    n = 0
    for place in range(keys.shape[0]):
        row = row_of(slot_keys, slot_rows, keys[place])
        if row >= 0 and alive[row]:
            request[n], rows[n], rank[n] = 0, row, place
            n += 1
    for at in range(1, b):
        for i in range(n):
            request[at * n + i], rows[at * n + i], rank[at * n + i] = at, rows[i], rank[i]
    return b * n
