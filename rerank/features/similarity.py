"""Similarity features: item vectors and the session's query vector. They need a session model."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank.features.block import COSINE, FROM_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs

Float32s = NDArray[np.float32]
Mask = NDArray[np.bool_]

_COMPARED: Final = 5
"""Newest window entries whose vectors are compared with the candidate's."""
_NO_VECTOR: Final = "no session model, or the candidate or the clicked items have no vector"


@block(
    Feature(
        "query_similarity",
        "cosine of the candidate's vector and the session's query vector",
        COSINE,
        nan="no session model, or the candidate or the session has no vector",
    ),
    Feature(
        "nearest_rank",
        "place among the items nearest to the query vector, 0 first",
        FROM_ZERO,
        nan="not a candidate of `nearest`",
    ),
    Feature(
        "last_similarity",
        "cosine of the vectors of the candidate and of the newest window entry",
        COSINE,
        nan="no session model, or one of the two has no vector",
    ),
    Feature(
        "best_similarity",
        f"largest cosine of the candidate with the newest {_COMPARED} window entries",
        COSINE,
        nan=_NO_VECTOR,
    ),
    Feature(
        "mean_similarity",
        f"mean cosine of the candidate with the newest {_COMPARED} window entries that have a vector",
        COSINE,
        nan=_NO_VECTOR,
    ),
)
def similarity(out: Columns, inputs: Inputs) -> None:
    """How near the candidate's vector is to the session's query vector and to the items clicked last."""
    contexts, candidates, catalogue = inputs.contexts, inputs.candidates, inputs.catalogue
    out["nearest_rank"] = candidates.nearest_rank
    if not catalogue.vectors.shape[1]:
        for name in ("query_similarity", "last_similarity", "best_similarity", "mean_similarity"):
            out[name] = np.nan
        return
    recent = contexts.rows[:, :_COMPARED]  # (b, r)
    _similarities(
        out,
        towards=np.concatenate([contexts.queries[:, None], catalogue.vectors[recent]], axis=1),
        has_query=contexts.has_query,
        has_recent=(recent >= 0) & catalogue.has_vector[recent],
        vectors=catalogue.vectors[candidates.rows],
        has_vector=catalogue.has_vector[candidates.rows],
        starts=candidates.starts,
        request=candidates.request,
    )


def _similarities(
    out: Columns,
    *,
    towards: Float32s,
    has_query: Mask,
    has_recent: Mask,
    vectors: Float32s,
    has_vector: Mask,
    starts: NDArray[np.intp],
    request: NDArray[np.int32],
) -> None:
    """Compare vectors (c, d) with those of their request: `towards` (b, 1 + r, d) is its query, then r items.

    `has_query` (b,), `has_recent` (b, r) and `has_vector` (c,) say which of these vectors exist.
    """
    cosines = np.empty((towards.shape[1], len(vectors)), np.float32)  # (1 + r, c)
    for at, (begin, end) in enumerate(pairwise(starts.tolist())):
        np.matmul(towards[at], vectors[begin:end].T, out=cosines[:, begin:end])
    usable = has_recent.T.take(request, axis=1) & has_vector  # (r, c)
    counts = usable.sum(axis=0)
    items = cosines[1:]  # (r, c)
    sums = np.where(usable, items, np.float32(0)).sum(axis=0)
    out["query_similarity"] = np.where(has_vector & has_query.take(request), cosines[0], np.nan)
    out["last_similarity"] = np.where(usable[0], items[0], np.nan)
    out["best_similarity"] = np.where(counts > 0, np.where(usable, items, np.float32(-2)).max(axis=0), np.nan)
    out["mean_similarity"] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
