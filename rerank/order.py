"""Orders of candidates: by score within a request, and the order of retrieval where nothing re-ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]

_DAMPING = 60.0
"""Reciprocal rank fusion's constant (Cormack, Clarke, Buettcher, SIGIR 2009)."""
_TRENDING_WEIGHT = 0.1
_RECENT_WEIGHT = 2.0
_RECENT_CLICKS = 50.0
"""Recent clicks on the newest item from which what goes with it lately is half believed."""
_APART = 1e9


def positions_by_score(candidates: Candidates, scores: Float32s) -> NDArray[np.intp]:
    """Return positions grouped by request, best score first, (c,). Equal scores keep the order of their rows."""
    return np.argsort(candidates.request * _APART - scores, kind="stable")


def retrieval_scores(candidates: Candidates, contexts: Contexts, state: ServingState) -> Float32s:
    """Return scores (c,) that merge the sources' own orders by reciprocal rank fusion.

    Nearness and co-visitation weigh alike; recent co-visitation up to twice as much, by how much the newest item was
    clicked lately; what trends fills the rest. Items that the caller gave are ordered by their similarity to the
    session and by their place in the caller's list.
    """
    near, given = candidates.nearest_rank, candidates.given_rank >= 0
    if given.any():
        near = np.where(given, _similarity_rank(candidates, contexts, state.catalogue, given), near)
    scores = _reciprocal(near) + _reciprocal(_rank_of(candidates, candidates.covisit, candidates.covisit > 0))
    lately = _reciprocal(_rank_of(candidates, candidates.together, candidates.together > 0))
    trends = state.trends
    recent = trends.recent_at(trends.rows_of(contexts.keys[:, 0]), contexts.now_ms)  # (b,)
    scores += lately * (_RECENT_WEIGHT * recent / (recent + _RECENT_CLICKS))[candidates.request]
    scores += _TRENDING_WEIGHT * _reciprocal(candidates.trending_rank) + _reciprocal(candidates.given_rank)
    return scores.astype(np.float32)


def _reciprocal(ranks: Float32s) -> Float32s:
    return np.where(ranks >= 0, np.float32(1) / (np.float32(_DAMPING) + ranks), np.float32(0))


def _rank_of(candidates: Candidates, values: Float32s, ranked: NDArray[np.bool_]) -> Float32s:
    """Return each candidate's place among its request's by value, largest first, (c,); NaN where not ranked."""
    at = np.flatnonzero(ranked)
    order = at[np.argsort(candidates.request[at] * _APART - values[at], kind="stable")]
    request = candidates.request[order]
    ranks = np.full(len(candidates), np.nan, np.float32)
    ranks[order] = np.arange(len(order)) - np.searchsorted(request, request)
    return ranks


def _similarity_rank(
    candidates: Candidates, contexts: Contexts, catalogue: CatalogueColumns, given: NDArray[np.bool_]
) -> Float32s:
    usable = given & contexts.has_query[candidates.request] & catalogue.has_vector[candidates.rows]
    at = np.flatnonzero(usable)
    similarity = np.zeros(len(candidates), np.float32)
    if len(at):
        towards = contexts.queries[candidates.request[at]]  # (n, d)
        similarity[at] = np.einsum("nd,nd->n", catalogue.vectors[candidates.rows[at]], towards)
    return _rank_of(candidates, similarity, usable)
