"""Similarity features: item vectors and the session's query vector. They need a session model."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from rerank.features.block import COSINE, FROM_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs
from retrieval.key_rows import Rows

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
    _similarities(
        candidates.rows,
        candidates.starts,
        contexts.rows,
        contexts.queries,
        contexts.has_query,
        catalogue.vectors,
        catalogue.has_vector,
        out.array,
    )


@kernel(
    reads("i4"),
    reads("i8"),
    reads("i4", 2),
    reads("f4", 2),
    reads("b1"),
    reads("f4", 2),
    reads("b1"),
    writes("f4", 2),
    any_order=True,
)
def _similarities(
    rows: Rows,
    starts: NDArray[np.intp],
    windows: Rows,
    queries: Float32s,
    has_query: Mask,
    vectors: Float32s,
    has_vector: Mask,
    out: Float32s,
) -> None:
    """Write the block's rows (5, c), all but `nearest_rank`: the inner products of the candidates' vectors with their
    request's query (b, d) and with the vectors of its newest window entries (b, w).
    """
    dim, width = vectors.shape[1], min(_COMPARED, windows.shape[1])
    nan = np.float32(np.nan)
    for request in range(len(starts) - 1):
        for at in range(starts[request], starts[request + 1]):
            row = rows[at]
            query_similarity, last, best, total, count = nan, nan, nan, np.float32(0), 0
            if has_vector[row]:
                if has_query[request]:
                    query_similarity = np.float32(0)
                    for k in range(dim):
                        query_similarity += vectors[row, k] * queries[request, k]
                for place in range(width):
                    other = windows[request, place]
                    if other < 0 or not has_vector[other]:
                        continue
                    cosine = np.float32(0)
                    for k in range(dim):
                        cosine += vectors[row, k] * vectors[other, k]
                    if place == 0:
                        last = cosine
                    if count == 0 or cosine > best:
                        best = cosine
                    total += cosine
                    count += 1
            out[0, at], out[2, at], out[3, at] = query_similarity, last, best
            out[4, at] = total / np.float32(count) if count else nan
