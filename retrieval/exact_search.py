"""Nearest vectors by comparing with every one, a slice of the rows at a time: memory stays small at any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]

_AT_ONCE = 65_536


def search_all(vectors: Float32s, penalty: Float32s, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
    """Return the k rows with the largest inner products for queries (b, d), best first: (b, k) and (b, k).

    `penalty` (n,), or (b, n) where queries differ, is added to a row's product: -inf hides it. It has one entry a row
    of `vectors` that counts.
    """
    count = penalty.shape[-1]
    found = [(np.zeros((len(queries), 0), np.int32), np.zeros((len(queries), 0), np.float32))]
    for at in range(0, count, _AT_ONCE):
        end = min(at + _AT_ONCE, count)
        similarity = queries @ vectors[at:end].T  # (b, n)
        similarity += penalty[..., at:end]
        rows = np.broadcast_to(np.arange(at, end, dtype=np.int32), similarity.shape)  # (b, n)
        found.append(_largest(rows, similarity, k))
    best, values = found[-1]
    if len(found) > 2:
        best, values = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        best, values = _largest(best, values, k)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)


def search_rows(vectors: Float32s, rows: Rows, query: Float32s, k: int) -> tuple[Rows, Float32s]:
    """Return those k of rows (n,) that are nearest to a query (d,), or all if fewer, best first."""
    parts = [vectors[rows[at : at + _AT_ONCE]] @ query for at in range(0, len(rows), _AT_ONCE)]
    values = np.concatenate([*parts, np.zeros(0, np.float32)])
    if len(values) > k:
        some = np.argpartition(values, len(values) - k)[len(values) - k :]
        rows, values = rows[some], values[some]
    order = np.argsort(-values, kind="stable")
    return rows[order], values[order]


def _largest(rows: Rows, values: Float32s, k: int) -> tuple[Rows, Float32s]:
    """Return the k columns (or all, if fewer) with the largest values, in any order."""
    if values.shape[1] <= k:
        return rows, values
    best = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]  # (b, k)
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)
