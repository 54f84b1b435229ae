"""Which items are worth ranking for each request: the union of the sources, for a whole batch at once.

Sources: nearest items of the session's vector, items viewed together with its last clicks, what trends, or the list
that the caller brought. Every source leaves its own number beside the candidate, for the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ann_index import AnnIndex, Filter
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Keys, Rows
from retrieval.trends import TrendColumns

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Contexts:
    """What b requests know, as arrays. Columns of a window run from the newest click back, padded to the longest (at
    least 1).

    A page's item that was not the last thing clicked stands first, as a view: whoever sees the page looks at it.
    """

    now_ms: NDArray[np.int64]
    """(b,)"""
    keys: Keys
    """(b, w) ItemKeys, 0 beyond `lengths`."""
    rows: Rows
    """(b, w) catalogue rows, -1 for an unknown item and beyond `lengths`."""
    codes: NDArray[np.uint8]
    """(b, w) EventCodes."""
    ts_ms: NDArray[np.int64]
    """(b, w)"""
    lengths: NDArray[np.int32]
    """(b,) entries in use, the page's item among them."""
    page_leads: NDArray[np.bool_]
    """(b,) whether entry 0 is the page's item and no click."""
    queries: Float32s
    """(b, d) unit vectors; zeros where there is none."""
    has_query: NDArray[np.bool_]
    """(b,)"""

    def __len__(self) -> int:
        return len(self.now_ms)


@dataclass(frozen=True, slots=True)
class Sources:
    """How many candidates each source may bring to a request; 0 leaves it out."""

    nearest: int = 60
    covisit_clicks: int = 4
    covisit: int = 20
    trending: int = 20


@dataclass(frozen=True, slots=True)
class Candidates:
    """c candidates of b requests, grouped by request, each item once a request. NaN: not from that source."""

    request: NDArray[np.int32]
    """(c,) which request."""
    rows: Rows
    """(c,) catalogue rows of items that are alive."""
    starts: NDArray[np.intp]
    """(b + 1,) where each request's candidates begin."""
    nearest_rank: Float32s
    """(c,) place among the nearest items, 0 first."""
    covisit_last: Float32s
    """(c,) share of the newest item's clicks that this item goes with."""
    covisit_last_rank: Float32s
    """(c,) place among the newest item's neighbours, 0 first."""
    covisit: Float32s
    """(c,) shares over the last clicks, the j-th (from 1, newest first) divided by j. 0 if none."""
    covisit_count: Float32s
    """(c,) how many of the last clicks suggest it."""
    covisit_from: NDArray[np.int8]
    """(c,) window entry that suggests it most, -1 for none."""
    trending_rank: Float32s
    """(c,) place among what trends, 0 first."""
    given_rank: Float32s
    """(c,) place in the caller's list, 0 first."""

    def __len__(self) -> int:
        return len(self.rows)


NO_GIVEN: Sequence[Rows | None] = ()
NO_FILTERS: Sequence[Filter | None] = ()


def gather(
    contexts: Contexts,
    catalogue: CatalogueColumns,
    index: AnnIndex,
    trends: TrendColumns,
    sources: Sources,
    given: Sequence[Rows | None] = NO_GIVEN,
    filters: Sequence[Filter | None] = NO_FILTERS,
) -> Candidates:
    """Return the candidates of every request.

    `given` has one entry a request (or none at all): rows to rank instead of searching, or None. A request with
    given rows gets those that are alive and no others, with the numbers that the sources have for them. `filters`
    likewise: what the nearest items of a request must be, so that rules which drop all others leave enough of them.
    """
    listed = np.array([rows is not None for rows in given], np.bool_) if given else np.zeros(len(contexts), np.bool_)
    nearest = _nearest(contexts, catalogue, index, sources.nearest, ~listed, filters)
    covisited = _covisited(contexts, catalogue, trends, sources)
    trending = _trending(contexts, catalogue, trends, sources.trending)
    brought = _given(catalogue, given)
    parts = [nearest, trending, brought, *covisited]
    codes = np.concatenate([part.request * np.int64(catalogue.count) + part.rows for part in parts])
    distinct, position = np.unique(codes, return_inverse=True)  # (c,), (all parts' rows,)
    places = np.split(position, np.cumsum([len(part.rows) for part in parts])[:-1])
    columns = [
        _laid_out(len(distinct), places[0], nearest.rank),
        *_covisit_columns(len(distinct), places[3:], covisited),
        _laid_out(len(distinct), places[1], trending.rank),
        _laid_out(len(distinct), places[2], brought.rank),
    ]
    request, rows = (half.astype(np.int32) for half in np.divmod(distinct, max(1, catalogue.count)))
    if listed.any():
        keep = ~listed[request]
        keep[places[2]] = True
        request, rows, columns = request[keep], rows[keep], [column[keep] for column in columns]
    starts = np.searchsorted(request, np.arange(len(contexts) + 1))
    return Candidates(request, rows, starts, *columns)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one source brings: (t,) requests and rows, each pair once, its numbers, and their ranks."""

    request: NDArray[np.int32]
    rows: Rows
    value: Float32s
    rank: Float32s


def _nearest(
    contexts: Contexts,
    catalogue: CatalogueColumns,
    index: AnnIndex,
    k: int,
    searched: NDArray[np.bool_],
    filters: Sequence[Filter | None],
) -> _Part:
    asked = np.flatnonzero(contexts.has_query & searched).astype(np.int32)
    if not k or not len(asked) or not len(index):
        return _NOTHING
    rows, similarity = index.search(contexts.queries[asked], k)  # (a, k)
    for at, request in enumerate(asked.tolist()):
        wanted = filters[request] if filters else None
        if wanted is not None and not index.let_through(rows[at], wanted).all():
            rows[at], similarity[at], _ = index.search_where(contexts.queries[request], k, wanted)
    return _flat(catalogue, asked, rows, similarity)


def _covisited(contexts: Contexts, catalogue: CatalogueColumns, trends: TrendColumns, sources: Sources) -> list[_Part]:
    """One part for each of the last clicks, newest first; a click on an item that a newer one named brings nothing."""
    clicks = min(sources.covisit_clicks, contexts.keys.shape[1])
    if not clicks or not sources.covisit or not len(trends) or not catalogue.count:
        return []
    keys = contexts.keys[:, :clicks]  # (b, clicks)
    neighbours, shares = trends.neighbours_of(keys.ravel(), sources.covisit)
    shape = (*keys.shape, neighbours.shape[1])
    shares = shares.reshape(shape)  # (b, clicks, k)
    rows = np.where(shares > 0, catalogue.rows_of(neighbours).reshape(shape), np.int32(-1))  # (b, clicks, k)
    requests = np.arange(len(keys), dtype=np.int32)
    parts = []
    for at in range(clicks):
        repeated = (keys[:, :at] == keys[:, at, None]).any(axis=1) | (at >= contexts.lengths)  # (b,)
        mine = np.where(repeated[:, None], np.int32(-1), rows[:, at])  # (b, k)
        parts.append(_flat(catalogue, requests, mine, shares[:, at]))
    return parts


def _trending(contexts: Contexts, catalogue: CatalogueColumns, trends: TrendColumns, k: int) -> _Part:
    if not k or not len(contexts) or not catalogue.count:
        return _NOTHING
    rows = catalogue.rows_of(trends.trending(int(contexts.now_ms.max()), k))  # (k,)
    alike = _flat(catalogue, np.zeros(1, np.int32), rows[None], np.zeros((1, len(rows)), np.float32))
    b, each = len(contexts), len(alike.rows)
    requests = np.repeat(np.arange(b, dtype=np.int32), each)
    return _Part(requests, np.tile(alike.rows, b), np.tile(alike.value, b), np.tile(alike.rank, b))


def _given(catalogue: CatalogueColumns, given: Sequence[Rows | None]) -> _Part:
    parts = []
    for at, listed in enumerate(given):
        if listed is not None and catalogue.count:
            rows = _first_of_each(listed)[None]
            parts.append(_flat(catalogue, np.array([at], np.int32), rows, np.zeros(rows.shape, np.float32)))
    if not parts:
        return _NOTHING
    return _Part(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))


def _first_of_each(rows: Rows) -> Rows:
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]


def _flat(catalogue: CatalogueColumns, requests: NDArray[np.int32], rows: Rows, values: Float32s) -> _Part:
    """Flatten (a, k) rows and values, best first, leaving out rows below 0 and items that are gone."""
    held = (rows >= 0) & catalogue.alive[rows]
    at, rank = np.nonzero(held)
    return _Part(requests[at], rows[at, rank], values[at, rank], rank.astype(np.float32))


def _columns(part: _Part) -> tuple[NDArray[np.int32], Rows, Float32s, Float32s]:
    return part.request, part.rows, part.value, part.rank


_NOTHING = _Part(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))


def _laid_out(c: int, places: NDArray[np.intp], values: Float32s) -> Float32s:
    column = np.full(c, np.nan, np.float32)
    column[places] = values
    return column


def _covisit_columns(c: int, places: list[NDArray[np.intp]], parts: list[_Part]) -> list[NDArray[Any]]:
    """Return the five columns of `Candidates` that co-visitation fills, in their order."""
    total, strongest, times = (np.zeros(c, np.float32) for _ in range(3))
    origin = np.full(c, -1, np.int8)
    for at, (where, part) in enumerate(zip(places, parts, strict=True)):
        weight = part.value / np.float32(at + 1)
        total[where] += weight
        times[where] += 1
        stronger = weight > strongest[where]
        strongest[where[stronger]] = weight[stronger]
        origin[where[stronger]] = at
    last = parts[0] if parts else _NOTHING
    newest = places[0] if parts else np.zeros(0, np.intp)
    return [_laid_out(c, newest, last.value), _laid_out(c, newest, last.rank), total, times, origin]
