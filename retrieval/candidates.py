"""Which items are worth ranking for each request: the union of the sources (`retrieval.sources`), for a whole batch
at once. Every source leaves its own numbers beside the candidate, for the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ann_index import NO_FILTERS, Filter
from retrieval.contexts import Contexts
from retrieval.key_rows import Rows
from retrieval.serving_state import ServingState
from retrieval.sources import SOURCES, Batch, Found, Rung, SourceNumbers, SourceSettings
from retrieval.sources import given as given_source

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
) -> Candidates:
    """Return the candidates of every request, of the sources that `rung` asks.

    `given` has one entry a request (or none at all): rows to rank instead of searching, or None. A request with
    given rows gets those that are alive and no others, with the numbers that the sources have for them. `filters`
    likewise: what the nearest items of a request must be, so that rules which drop all others leave enough of them.
    `shows_seen` (b,) are the requests whose own clicks may be candidates; None: all. `longest`: see `Batch`.
    """
    b = len(contexts)
    listed = np.array([rows is not None for rows in given], np.bool_) if given else np.zeros(b, np.bool_)
    shows = np.ones(b, np.bool_) if shows_seen is None else shows_seen
    batch = Batch(contexts, state, given, listed, filters, shows, rung, longest, int(contexts.now_ms.max(initial=0)))
    found = [source.bring(batch, settings) if rung >= source.rung else source.nothing for source in SOURCES]
    union = unite(found, state.catalogue.count)
    keep = union.brought
    if listed.any():
        only = np.zeros(len(keep), np.bool_)
        only[union.places[_GIVEN]] = True
        keep = keep & (only | ~listed[union.request])
    kept = np.flatnonzero(keep)  # (c,)
    request = union.request[kept]
    columns: dict[str, Any] = {}
    for source, entries, place in zip(SOURCES, found, union.places, strict=True):
        numbers = source.lay_out(entries, place, len(keep))
        columns.update({field.name: getattr(numbers, field.name).take(kept) for field in fields(source.numbers)})
    starts = np.searchsorted(request, np.arange(b + 1))
    return Candidates(request=request, rows=union.rows[kept], starts=starts, **columns)


@dataclass(frozen=True, slots=True)
class Union:
    """The n distinct (request, row) of several sources, ascending."""

    request: NDArray[np.int32]
    """(n,)"""
    rows: Rows
    """(n,)"""
    places: list[NDArray[np.intp]]
    """By source, (t,): which of the n each of its entries is."""
    brought: NDArray[np.bool_]
    """(n,) whether a source brings it; what is not brought was found for its numbers alone."""


def unite(found: Sequence[Found], count: int) -> Union:
    """Return the union of what the sources found in a catalogue of `count` rows."""
    codes = [one.request * np.int64(count) + one.rows for one in found]
    distinct, position = np.unique(np.concatenate(codes), return_inverse=True)  # (n,), (all entries,)
    places = np.split(position, np.cumsum([len(one) for one in codes])[:-1])
    brought = np.zeros(len(distinct), np.bool_)
    for one, place in zip(found, places, strict=True):
        brought[place if one.brought is None else place[one.brought]] = True
    request, rows = (half.astype(np.int32) for half in np.divmod(distinct, max(1, count)))
    return Union(request, rows, places, brought)
