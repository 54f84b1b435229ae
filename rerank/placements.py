"""What the placements mean: how candidates of a page are put in order beside the ranker's scores.

What each placement does is declared with it (`contracts.api.PlacementDefaults`). Orders are made before the rules drop
anything; scores never rise along them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from contracts.api import ItemGroup
from contracts.ids import item_key
from rerank.order import positions_by_score
from rerank.query import Query
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]
Places = NDArray[np.intp]

_INTERESTS: Final = 4
"""Interests that a session is taken to have, at most."""
_LOOKED_AT: Final = 10
"""Newest window entries among which interests are looked for."""
_ONE_INTEREST: Final = 0.5
"""Cosine from which two items are of one interest."""
_SAME_NEED: Final = 0.6
"""Cosine from which an item without a category is taken to be for the same need as the page's."""
_ALIKE_SHARE: Final = 0.6
"""Share of a product page for items like the one that it shows; the rest is for what goes with it."""
_TIE: Final = 1e-6
"""Weight of the caller's order where it counts for ties alone."""
_DAMPING: Final = 10.0
"""Reciprocal rank fusion's constant, of the engine's order and ours."""
GROUPS: Final = (None, ItemGroup.ALIKE, ItemGroup.GOES_WITH)
_ALIKE, _GOES_WITH = 1, 2


class Ordered(NamedTuple):
    """Positions of candidates (c,) grouped by request, best first; scores (c,) that never rise along them; and where a
    page has groups, that of each candidate (c,), 0 for none, else its place in GROUPS.
    """

    order: Places
    scores: Float32s
    groups: NDArray[np.int8] | None


def blended(
    queries: Sequence[Query],
    contexts: Contexts,
    candidates: Candidates,
    scores: Float32s,
    prior: float,
    *,
    reranked: bool,
) -> Float32s:
    """Return scores (c,) in which another order counts beside ours, by reciprocal rank fusion: of requests that re-rank
    a given list the caller's, which weighs `prior`; of those that a cart leads what was taken together with it.

    Where nothing is known of the visitor the caller's order alone stands. Retrieval order (not `reranked`) holds the
    caller's already.
    """
    fused = scores
    for at, query in enumerate(queries):
        meant, mine = query.placement.defaults, slice(int(candidates.starts[at]), int(candidates.starts[at + 1]))
        if query.candidates is not None:
            counts = meant.keeps_given_order and (reranked or not _is_known(at, contexts))
            other, weight = (candidates.given_rank[mine], prior) if counts else (None, 0.0)
        elif meant.cart_leads and (candidates.bought_together[mine] > 0).any():
            other, weight = _ranks(candidates.bought_together[mine]), 1.0
        else:
            other, weight = None, 0.0
        if other is None:
            continue
        fused = scores.copy() if fused is scores else fused
        theirs = np.where(other >= 0, 1 / (np.float32(_DAMPING) + other), 0)
        fused[mine] = np.float32(max(weight, _TIE)) * theirs
        if _is_known(at, contexts):
            fused[mine] += np.nan_to_num(1 / (np.float32(_DAMPING) + _ranks(scores[mine])))
    return fused


def _ranks(values: Float32s) -> Float32s:
    """Return places by value, largest first, equal values sharing one (n,); NaN stays NaN."""
    known = ~np.isnan(values)
    ranks = np.full(len(values), np.nan, np.float32)
    _, place, counts = np.unique(-values[known], return_inverse=True, return_counts=True)
    ranks[known] = (np.cumsum(counts) - counts)[place]
    return ranks


def _is_known(at: int, contexts: Contexts) -> bool:
    against = contexts.against
    if contexts.lengths[at] > 0 or against is None:
        return bool(contexts.lengths[at] > 0)
    return bool(against.strengths[against.request == at].any())


def ordered(
    queries: Sequence[Query], contexts: Contexts, candidates: Candidates, scores: Float32s, catalogue: CatalogueColumns
) -> Ordered:
    """Return the candidates in the order in which each request's placement shows them."""
    order = positions_by_score(candidates, scores)
    shares = [one.placement.defaults.interest_share if one.candidates is None else 0.0 for one in queries]
    quotas = np.array([math.ceil(share * one.limit) for share, one in zip(shares, queries, strict=True)], np.int64)
    limits = np.array([one.limit for one in queries], np.int64)
    if quotas.any() and catalogue.vectors.shape[1]:
        window = (contexts.rows, catalogue.vectors, catalogue.has_vector)
        mixed, fallen = np.empty_like(order), np.empty_like(scores)
        _mix(candidates.starts, candidates.rows, *window, quotas, limits, order, scores, mixed, fallen)
        order, scores = mixed, fallen
    apart = [at for at, one in enumerate(queries) if _is_apart(one)]
    groups = None
    if apart:
        groups = np.zeros(len(candidates), np.int8)
        order, scores = order.copy(), scores.copy()
        for at in apart:
            _part(at, queries[at], candidates, catalogue, order, scores, groups)
    return Ordered(order, scores, groups)


def _is_apart(query: Query) -> bool:
    return query.placement.defaults.page_leads and query.item_id is not None and query.candidates is None


def _part(
    at: int,
    query: Query,
    candidates: Candidates,
    catalogue: CatalogueColumns,
    order: Places,
    scores: Float32s,
    groups: NDArray[np.int8],
) -> None:
    """Put what is like the page's item before what goes with it, each by score, and then everything else, in place."""
    begin, end = int(candidates.starts[at]), int(candidates.starts[at + 1])
    row = int(catalogue.rows_of(np.array([item_key(query.item_id or "")], np.uint64))[0]) if begin < end else -1
    if row < 0:
        return
    mine = order[begin:end]
    rows = candidates.rows[mine]
    alike = _same_need(rows, row, catalogue)
    suggested = (candidates.covisit_last[mine] > 0) | (candidates.bought_together[mine] > 0)
    goes_with = ~alike & suggested & (rows != row)
    groups[mine[alike]], groups[mine[goes_with]] = _ALIKE, _GOES_WITH
    first = np.flatnonzero(alike)[: math.ceil(_ALIKE_SHARE * query.limit)]
    second = np.flatnonzero(goes_with)[: query.limit]
    rest = np.setdiff1d(np.arange(len(mine)), np.concatenate([first, second]))
    order[begin:end] = mine[np.concatenate([first, second, rest])]
    scores[order[begin:end]] = np.fmin.accumulate(scores[order[begin:end]])


def _same_need(rows: Rows, row: int, catalogue: CatalogueColumns) -> NDArray[np.bool_]:
    """Return which of rows (n,) are for the need that a row is for: of its category, or else near to it."""
    if catalogue.category[row] != NO_CODE:
        return np.asarray((catalogue.category[rows] == catalogue.category[row]) & (rows != row), np.bool_)
    if not catalogue.vectors.shape[1] or not catalogue.has_vector[row]:
        return np.zeros(len(rows), np.bool_)
    near = catalogue.vectors[rows] @ catalogue.vectors[row] >= _SAME_NEED
    return np.asarray(near & (rows != row), np.bool_)


@inlined
def _cosine(vectors: Float32s, one: int, other: int) -> np.float32:
    total = np.float32(0)
    for k in range(vectors.shape[1]):
        total += vectors[one, k] * vectors[other, k]
    return total


@kernel(
    *(reads("i8"), reads("i4"), reads("i4", 2), reads("f4", 2), reads("b1")),
    *(reads("i8"), reads("i8"), reads("i8"), reads("f4"), writes("i8"), writes("f4")),
    any_order=True,
)
def _mix(
    starts: Places,
    rows: Rows,
    windows: Rows,
    vectors: Float32s,
    has_vector: NDArray[np.bool_],
    quotas: NDArray[np.int64],
    limits: NDArray[np.int64],
    order: Places,
    scores: Float32s,
    mixed: Places,
    fallen: Float32s,
) -> None:
    """Write `order` so that of the first items of a request no more than `quotas` (b,), 0 for no limit, are nearest to
    one of the session's interests, where it has several: the newest of its items, and those unlike these.
    """
    interests = np.empty(_INTERESTS, np.int64)
    counts = np.empty(_INTERESTS, np.int64)
    for mine in range(len(starts) - 1):
        begin, end = starts[mine], starts[mine + 1]
        for at in range(begin, end):
            mixed[at] = order[at]
            fallen[order[at]] = scores[order[at]]
        n = 0
        if quotas[mine] > 0:
            n = _interests(windows[mine], vectors, has_vector, interests)
        if n < 2:
            continue
        quota = min(quotas[mine], (3 * limits[mine] + 2 * n - 1) // (2 * n))
        for one in range(n):
            counts[one] = 0
        kept, held, wanted = begin, 0, limits[mine] + _LOOKED_AT
        later = np.empty(end - begin, np.int64)
        for at in range(begin, end):
            row = rows[order[at]]
            nearest, most = -1, np.float32(-2)
            if kept - begin < wanted and has_vector[row]:
                for one in range(n):
                    cosine = _cosine(vectors, row, interests[one])
                    if cosine > most:
                        nearest, most = one, cosine
            if nearest >= 0 and counts[nearest] >= quota:
                later[held] = order[at]
                held += 1
                continue
            if nearest >= 0 and not _is_in(row, windows[mine]):
                counts[nearest] += 1
            mixed[kept] = order[at]
            kept += 1
        for at in range(held):
            mixed[kept + at] = later[at]
        lowest = np.float32(np.inf)
        for at in range(begin, end):
            score = scores[mixed[at]]
            if score < lowest:
                lowest = score
            fallen[mixed[at]] = lowest if score == score else score


@inlined
def _is_in(row: int, window: Rows) -> bool:
    found = False
    for place in range(len(window)):
        found = found or window[place] == row
    return found


@inlined
def _interests(window: Rows, vectors: Float32s, has_vector: NDArray[np.bool_], interests: NDArray[np.int64]) -> int:
    """Write the newest rows of a window that are unlike each other; return how many."""
    n = 0
    for place in range(min(len(window), _LOOKED_AT)):
        row = window[place]
        if row < 0 or not has_vector[row] or n >= len(interests):
            continue
        is_new = True
        for one in range(n):
            if _cosine(vectors, row, interests[one]) >= np.float32(_ONE_INTEREST):
                is_new = False
        if is_new:
            interests[n] = row
            n += 1
    return n
