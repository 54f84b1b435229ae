"""Which items are worth ranking for each request: the union of the sources (`retrieval.sources`), for a whole batch
at once. Every source leaves its own numbers beside the candidate, for the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from compiled.sorting import sort_numbers
from retrieval.ann_index import NO_FILTERS, Filter
from retrieval.contexts import Contexts
from retrieval.key_rows import Rows
from retrieval.serving_state import ServingState
from retrieval.sources import SOURCES, Batch, Found, Rung, SourceNumbers, SourceSettings
from retrieval.sources import given as given_source
from retrieval.sources.source import numbers_of

__all__ = ["Candidates", "Contexts", "Union", "gather", "unite"]

NO_GIVEN: Sequence[Rows | None] = ()
_GIVEN = SOURCES.index(given_source.SOURCE)


@dataclass(frozen=True, kw_only=True)
class Candidates(SourceNumbers):
    """c candidates of b requests, grouped by request, each item once a request, and the numbers that the sources left
    beside them: see `Numbers` of each file of `retrieval.sources`.
    """

    request: NDArray[np.int32]
    """(c,) which request."""
    rows: Rows
    """(c,) catalogue rows of items that are alive."""
    starts: NDArray[np.intp]
    """(b + 1,) where each request's candidates begin."""

    def __len__(self) -> int:
        return len(self.rows)


def gather(
    contexts: Contexts,
    state: ServingState,
    settings: SourceSettings,
    given: Sequence[Rows | None] = NO_GIVEN,
    filters: Sequence[Filter | None] = NO_FILTERS,
    shows_seen: NDArray[np.bool_] | None = None,
    *,
    rung: Rung = Rung.RERANKED,
    longest: int = 0,
    beside: bool = False,
) -> Candidates:
    """Return the candidates of every request, of the sources that `rung` asks.

    `given` has one entry a request (or none at all): rows to rank instead of searching, or None. A request with
    given rows gets those that are alive and no others, with the numbers that the sources have for them. `filters`
    likewise: what the nearest items of a request must be, so that rules which drop all others leave enough of them.
    With `beside` given rows are candidates beside those of the sources, and stand in no list.
    `shows_seen` (b,) are the requests whose own clicks may be candidates; None: all. `longest`: see `Batch`.
    """
    b = len(contexts)
    listed = np.zeros(b, np.bool_)
    if given and not beside:
        listed = np.array([rows is not None for rows in given], np.bool_)
    shows = np.ones(b, np.bool_) if shows_seen is None else shows_seen
    batch = Batch(contexts, state, given, listed, filters, shows, rung, longest, contexts.latest_ms)
    found = [source.bring(batch, settings) if rung >= source.rung else source.nothing for source in SOURCES]
    union = unite(found, listed, state.catalogue.count)
    columns: dict[str, NDArray[Any]] = {"request": union.request, "rows": union.rows, "starts": union.starts}
    for source, entries, place in zip(SOURCES, found, union.places, strict=True):
        columns.update(source.lay_out(entries, place, len(union.rows)).__dict__)
    if beside:
        columns["given_rank"] = np.full(len(union.rows), np.nan, np.float32)
    return numbers_of(Candidates, columns)


class Union(msgspec.Struct, frozen=True):
    """The n distinct (request, row) that sources bring, ascending."""

    request: NDArray[np.int32]
    """(n,)"""
    rows: Rows
    """(n,)"""
    starts: NDArray[np.intp]
    """(b + 1,) where each request begins."""
    places: list[NDArray[np.intp]]
    """By source, (t,): which of the n each of its entries is; -1 for one that no source brings."""


def unite(found: Sequence[Found], listed: NDArray[np.bool_], count: int) -> Union:
    """Return the union of what the sources brought to b requests, of a catalogue of `count` rows.

    `listed` (b,) are the requests that get what the caller gave, and nothing else. Raises IndexError when a source
    names a request or a row that there is not.
    """
    ends, some = [0], []
    for one in found:
        if len(one.rows):
            some.append(one)
        ends.append(ends[-1] + len(one.rows))
    t = ends[-1]
    request, rows = np.empty(t, np.int32), np.empty(t, np.int32)  # of all entries
    brought = np.empty(t, np.bool_)
    brought.fill(True)
    if some:
        np.concatenate([one.request for one in some], out=request, casting="same_kind")
        np.concatenate([one.rows for one in some], out=rows, casting="same_kind")
    for at, one in enumerate(found):
        if one.brought is not None:
            brought[ends[at] : ends[at + 1]] = one.brought
    numbers, kept = np.empty((2, t), np.int64), np.empty((2, t), np.int32)
    codes, place = numbers[0], numbers[1]
    starts = np.zeros(len(listed) + 1, np.intp)
    given = ends[_GIVEN], ends[_GIVEN + 1]
    n = _unite(request, rows, brought, listed, *given, count, codes, starts, place, kept[0], kept[1])
    if n < 0:
        raise IndexError(
            f"expected entries of {len(listed)} requests and {count} rows, got others: look at what `bring` returns"
        )
    places = [place[begin:end] for begin, end in pairwise(ends)]
    return Union(kept[0, :n], kept[1, :n], starts, places)


@kernel(
    *(reads("i4"), reads("i4"), reads("?"), reads("?"), "i8", "i8", "i8"),
    *(writes("i8"), writes("i8"), writes("i8"), writes("i4"), writes("i4")),
)
def _unite(
    request: NDArray[np.int32],
    rows: Rows,
    brought: NDArray[np.bool_],
    listed: NDArray[np.bool_],
    given_from: int,
    given_to: int,
    count: int,
    codes: NDArray[np.int64],
    starts: NDArray[np.intp],
    place: NDArray[np.intp],
    kept_request: NDArray[np.int32],
    kept_rows: Rows,
) -> int:
    """Write places, and requests and rows of what is kept; return how many, or -1 for an entry that cannot be."""
    b = listed.shape[0]
    for entry in range(request.shape[0]):
        if not (0 <= request[entry] < b and 0 <= rows[entry] < count):
            return -1
        starts[request[entry] + 1] += 1
    for at in range(b):
        starts[at + 1] += starts[at]
    ends = starts[:b].copy()
    for entry in range(request.shape[0]):  # by request, as row and entry in one number
        codes[ends[request[entry]]] = (np.int64(rows[entry]) << 32) | entry
        ends[request[entry]] += 1
    n = 0
    for at in range(b):
        begin, end = starts[at], ends[at]
        sort_numbers(codes, begin, end)
        starts[at] = n
        while begin < end:
            row, after, keep = codes[begin] >> 32, begin, False
            while after < end and codes[after] >> 32 == row:
                entry = codes[after] & 0xFFFFFFFF
                keep = keep or (brought[entry] and (not listed[at] or given_from <= entry < given_to))
                place[entry] = -1
                after += 1
            if keep:
                for same in range(begin, after):
                    place[codes[same] & 0xFFFFFFFF] = n
                kept_request[n], kept_rows[n] = at, row
                n += 1
            begin = after
    starts[b] = n
    return n
