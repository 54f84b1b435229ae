"""Orders of candidates: by score within a request, and the order of retrieval where nothing re-ranks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]
Places = NDArray[np.intp]
Mask = NDArray[np.bool_]

_DAMPING: Final = np.float32(60)
"""Reciprocal rank fusion's constant (Cormack, Clarke, Buettcher, SIGIR 2009)."""
_TRENDING_WEIGHT: Final = np.float32(0.1)
_RECENT_WEIGHT: Final = 2.0
_OWN_WEIGHT: Final = np.float32(3)
"""Of a user's own items on arrival: what `nextclick evaluate users` chose (docs/user-models.md)."""
_RECENT_CLICKS: Final = 50.0
"""Recent clicks on the newest item from which what goes with it lately is half believed."""


def positions_by_score(candidates: Candidates, scores: Float32s) -> Places:
    """Return positions grouped by request, best score first, (c,). Equal scores keep the order of their rows; NaN
    comes last.
    """
    order = np.empty(len(candidates), np.intp)
    _order(candidates.starts, scores, order)
    return order


def retrieval_scores(candidates: Candidates, contexts: Contexts, state: ServingState) -> Float32s:
    """Return scores (c,) that merge the sources' own orders by reciprocal rank fusion.

    A user's own items on arrival come first. Nearness and co-visitation weigh alike; recent co-visitation up to twice
    as much, by how much the newest item was clicked lately; what trends fills the rest. Items that the caller gave are
    ordered by their similarity to the session and by their place in the caller's list.
    """
    near, given = candidates.nearest_rank, candidates.given_rank >= 0
    if given.any():
        near = np.where(given, _similarity_rank(candidates, contexts, state.catalogue, given), near)
    trends = state.trends
    recent = trends.recent_at(trends.rows_of(contexts.keys[:, 0]), contexts.now_ms)  # (b,)
    scores = np.empty(len(candidates), np.float32)
    _fuse(
        candidates.starts,
        near,
        _rank_of(candidates, candidates.covisit, candidates.covisit > 0),
        _rank_of(candidates, candidates.together, candidates.together > 0),
        (_RECENT_WEIGHT * recent / (recent + _RECENT_CLICKS)).astype(np.float32, copy=False),
        candidates.trending_rank,
        candidates.given_rank,
        candidates.own_rank,
        scores,
    )
    return scores


def _rank_of(candidates: Candidates, values: Float32s, ranked: Mask) -> Float32s:
    """Return each candidate's place among its request's by value, largest first, (c,); NaN where not ranked."""
    ranks = np.empty(len(candidates), np.float32)
    _rank(candidates.starts, values, ranked, ranks)
    return ranks


def _similarity_rank(candidates: Candidates, contexts: Contexts, catalogue: CatalogueColumns, given: Mask) -> Float32s:
    usable = given & contexts.has_query[candidates.request] & catalogue.has_vector[candidates.rows]
    at = np.flatnonzero(usable)
    similarity = np.zeros(len(candidates), np.float32)
    if len(at):
        towards = contexts.queries[candidates.request[at]]  # (n, d)
        similarity[at] = np.einsum("nd,nd->n", catalogue.vectors[candidates.rows[at]], towards)
    return _rank_of(candidates, similarity, usable)


@inlined
def _sort(values: Float32s, order: Places, spare: Places, begin: int, end: int) -> None:
    """Put the positions in `order[begin:end]` in falling order of their values; merges runs, so equals stay put."""
    width = 1
    while width < end - begin:
        for left in range(begin, end, 2 * width):
            middle, stop = min(left + width, end), min(left + 2 * width, end)
            i, j = left, middle
            for k in range(left, stop):
                if i >= middle:
                    later = True
                elif j >= stop:
                    later = False
                else:
                    first, second = values[order[i]], values[order[j]]
                    later = second > first or (first != first and second == second)
                if later:
                    spare[k] = order[j]
                    j += 1
                else:
                    spare[k] = order[i]
                    i += 1
        for k in range(begin, end):  # a slice brings the text of an error about shapes: two seconds to compile
            order[k] = spare[k]
        width *= 2


@kernel(reads("i8"), reads("f4"), writes("i8"))
def _order(starts: Places, scores: Float32s, out: Places) -> None:
    spare = np.empty(len(scores), np.int64)
    for at in range(len(scores)):
        out[at] = at
    for request in range(len(starts) - 1):
        _sort(scores, out, spare, starts[request], starts[request + 1])


@kernel(reads("i8"), reads("f4"), reads("b1"), writes("f4"))
def _rank(starts: Places, values: Float32s, ranked: Mask, out: Float32s) -> None:
    order, spare = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    for request in range(len(starts) - 1):
        begin = starts[request]
        end = begin
        for at in range(begin, starts[request + 1]):
            out[at] = np.float32(np.nan)
            if ranked[at]:
                order[end] = at
                end += 1
        _sort(values, order, spare, begin, end)
        for place in range(begin, end):
            out[order[place]] = np.float32(place - begin)


@inlined
def _reciprocal(rank: np.float32) -> np.float32:
    return np.float32(1) / (_DAMPING + rank) if rank >= 0 else np.float32(0)


@kernel(
    reads("i8"), reads("f4"), reads("f4"), reads("f4"), reads("f4"), reads("f4"), reads("f4"), reads("f4"), writes("f4")
)
def _fuse(
    starts: Places,
    near: Float32s,
    covisited: Float32s,
    lately: Float32s,
    recent_weights: Float32s,
    trending: Float32s,
    given: Float32s,
    own: Float32s,
    out: Float32s,
) -> None:
    """Write the fused score of every candidate (c,); `recent_weights` (b,) are the requests' weights of `lately`."""
    for request in range(len(starts) - 1):
        for at in range(starts[request], starts[request + 1]):
            score = _reciprocal(near[at]) + _reciprocal(covisited[at])
            score += _reciprocal(lately[at]) * recent_weights[request]
            score += _OWN_WEIGHT * _reciprocal(own[at])
            out[at] = score + (_TRENDING_WEIGHT * _reciprocal(trending[at]) + _reciprocal(given[at]))
