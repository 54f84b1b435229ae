"""Which items are worth ranking for each request: the union of the sources, for a whole batch at once.

Sources: nearest items of the session's vector, items viewed together with its last clicks (over all and lately), what
trends, what was clicked most lately, what is new, what the session itself clicked, or the list that the caller brought.
Every source leaves its own number beside the candidate, for the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.ann_index import NO_FILTERS, AnnIndex, Filter
from retrieval.catalogue import CatalogueColumns
from retrieval.covisited import numbers_of, suggested
from retrieval.key_rows import Keys, Rows
from retrieval.trend_columns import TrendColumns

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
    covisit_recent: int = 0
    trending: int = 20
    recent: int = 0
    new: int = 0
    window: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """c candidates of b requests, grouped by request, each item once a request. NaN: not from that source."""

    request: NDArray[np.int32]
    """(c,) which request."""
    rows: Rows
    """(c,) catalogue rows of items that are alive."""
    starts: NDArray[np.intp]
    """(b + 1,) where each request's candidates begin."""
    covisit_from: NDArray[np.int8]
    """(c,) window entry that suggests it most, -1 for none."""
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
    after_last: Float32s
    """(c,) as `covisit_last`, of what was clicked after it alone."""
    after: Float32s
    """(c,) as `covisit`, of what was clicked after them alone."""
    together_last: Float32s
    """(c,) as `covisit_last`, of recent clicks."""
    together_last_rank: Float32s
    """(c,) as `covisit_last_rank`, of recent clicks."""
    together: Float32s
    """(c,) as `covisit`, of recent clicks."""
    covisit_second: Float32s
    """(c,) as `covisit_last`, of the newest item but one."""
    paired_last: Float32s
    """(c,) `covisit_last` times the root of the newest item's clicks."""
    paired: Float32s
    """(c,) shares over the last clicks, each times the root of its item's clicks. 0 if none."""
    trending_rank: Float32s
    """(c,) place among what trends, 0 first."""
    recent_rank: Float32s
    """(c,) place among what was clicked most lately, 0 first."""
    new_rank: Float32s
    """(c,) place among what is new, the one clicked most lately first."""
    window_rank: Float32s
    """(c,) place of its newest click in the session's window, 0 the newest."""
    given_rank: Float32s
    """(c,) place in the caller's list, 0 first."""

    def __len__(self) -> int:
        return len(self.rows)


_NEW_FOR_MS = 3 * 3_600_000
"""An item is new for so long."""
_LOOKED_AT = 500
NO_GIVEN: Sequence[Rows | None] = ()


def gather(
    contexts: Contexts,
    catalogue: CatalogueColumns,
    index: AnnIndex,
    trends: TrendColumns,
    sources: Sources,
    given: Sequence[Rows | None] = NO_GIVEN,
    filters: Sequence[Filter | None] = NO_FILTERS,
    shows_seen: NDArray[np.bool_] | None = None,
) -> Candidates:
    """Return the candidates of every request.

    `given` has one entry a request (or none at all): rows to rank instead of searching, or None. A request with
    given rows gets those that are alive and no others, with the numbers that the sources have for them. `filters`
    likewise: what the nearest items of a request must be, so that rules which drop all others leave enough of them.
    `shows_seen` (b,) are the requests whose own clicks may be candidates; None: all.
    """
    listed = np.array([rows is not None for rows in given], np.bool_) if given else np.zeros(len(contexts), np.bool_)
    now_ms = int(contexts.now_ms.max(initial=0))
    to_all = [trends.trending(now_ms, sources.trending), trends.recent(now_ms, sources.recent)]
    to_all.append(_new(catalogue, trends, now_ms, sources.new))
    parts = [
        _nearest(contexts, catalogue, index, sources.nearest, ~listed, filters),
        *(_to_all(contexts, catalogue, keys) for keys in to_all),
        _window(contexts, catalogue, sources.window, ~listed if shows_seen is None else shows_seen & ~listed),
        _given(catalogue, given),
    ]
    found = suggested(
        contexts.keys,
        contexts.lengths,
        contexts.now_ms,
        catalogue,
        trends,
        clicks=sources.covisit_clicks,
        first=sources.covisit,
        first_recent=sources.covisit_recent,
    )
    codes = [part.request * np.int64(catalogue.count) + part.rows for part in parts]
    codes.append(found.request * np.int64(catalogue.count) + found.rows)
    distinct, position = np.unique(np.concatenate(codes), return_inverse=True)  # (n,), (all parts' rows,)
    *places, place = np.split(position, np.cumsum([len(part) for part in codes])[:-1])
    numbers, origin = numbers_of(found, place, len(distinct))
    near, *further = (_laid_out(len(distinct), *one) for one in zip(places, (part.rank for part in parts), strict=True))
    keep = np.zeros(len(distinct), np.bool_)  # what no source brings on its own was there for its numbers alone
    for brought in (*places, place[found.brought]):
        keep[brought] = True
    request, rows = (half.astype(np.int32) for half in np.divmod(distinct, max(1, catalogue.count)))
    if listed.any():
        given_too = np.zeros(len(distinct), np.bool_)
        given_too[places[-1]] = True
        keep &= given_too | ~listed[request]
    kept = np.flatnonzero(keep)  # (c,)
    request, rows = request[kept], rows[kept]
    starts = np.searchsorted(request, np.arange(len(contexts) + 1))
    columns = [column.take(kept) for column in (near, *numbers, *further)]
    return Candidates(request, rows, starts, origin[kept], *columns)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one source brings: (t,) requests and rows, each pair once, and their ranks."""

    request: NDArray[np.int32]
    rows: Rows
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
    wanted = [filters[request] for request in asked.tolist()] if filters else NO_FILTERS
    rows, _ = index.search(contexts.queries[asked], k, wanted)  # (a, k)
    return _flat(catalogue, asked, rows)


def _to_all(contexts: Contexts, catalogue: CatalogueColumns, keys: Keys) -> _Part:
    """Bring the same items, best first, to every request."""
    if not len(keys) or not len(contexts) or not catalogue.count:
        return _NOTHING
    rows = catalogue.rows_of(keys)  # (k,)
    alike = _flat(catalogue, np.zeros(1, np.int32), rows[None])
    b, each = len(contexts), len(alike.rows)
    requests = np.repeat(np.arange(b, dtype=np.int32), each)
    return _Part(requests, np.tile(alike.rows, b), np.tile(alike.rank, b))


def _new(catalogue: CatalogueColumns, trends: TrendColumns, now_ms: int, k: int) -> Keys:
    """Return the k most clicked lately of the items that are new, among the 500 most clicked lately of all."""
    if not k or not catalogue.count:
        return np.zeros(0, np.uint64)
    keys = trends.recent(now_ms, _LOOKED_AT)
    rows = catalogue.rows_of(keys)
    new = (rows >= 0) & catalogue.alive[rows] & (now_ms - catalogue.created_ms[rows] < _NEW_FOR_MS)
    chosen: Keys = keys[new][:k]
    return chosen


def _window(contexts: Contexts, catalogue: CatalogueColumns, clicks: int, asked: NDArray[np.bool_]) -> _Part:
    """Bring the items of the newest clicks, each at its newest."""
    rows = contexts.rows[:, :clicks]  # (b, w)
    if not clicks or not catalogue.count:
        return _NOTHING
    again = ((rows[:, :, None] == rows[:, None, :]) & np.tri(rows.shape[1], k=-1, dtype=np.bool_)).any(axis=2)
    shown = np.where(again | ~asked[:, None], np.int32(-1), rows)
    return _flat(catalogue, np.arange(len(contexts), dtype=np.int32), shown)


def _given(catalogue: CatalogueColumns, given: Sequence[Rows | None]) -> _Part:
    parts = []
    for at, listed in enumerate(given):
        if listed is not None and catalogue.count:
            rows = _first_of_each(listed)[None]
            parts.append(_flat(catalogue, np.array([at], np.int32), rows))
    if not parts:
        return _NOTHING
    return _Part(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))


def _first_of_each(rows: Rows) -> Rows:
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]


def _flat(catalogue: CatalogueColumns, requests: NDArray[np.int32], rows: Rows) -> _Part:
    """Flatten (a, k) rows, best first, leaving out rows below 0 and items that are gone."""
    held = (rows >= 0) & catalogue.alive[rows]
    at, rank = np.nonzero(held)
    return _Part(requests[at], rows[at, rank], rank.astype(np.float32))


def _columns(part: _Part) -> tuple[NDArray[np.int32], Rows, Float32s]:
    return part.request, part.rows, part.rank


_NOTHING = _Part(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def _laid_out(c: int, places: NDArray[np.intp], values: Float32s) -> Float32s:
    column = np.full(c, np.nan, np.float32)
    column[places] = values
    return column
