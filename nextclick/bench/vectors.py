"""Vectors to bench the index on: clustered and unequal, as a shop's items are, from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIM = 128
AT_ONCE = 100_000

Float32s = NDArray[np.float32]


def clustered(count: int, seed: int) -> Float32s:
    """Return unit vectors (count, 128) as a shop has them: 256 departments of 64 shelves each, shelves of very unequal
    size (Zipf, exponent 0.7), items in a 24-dimensional space of styles around their shelf, and noise."""
    fixed = np.random.default_rng(0)
    departments = fixed.standard_normal((256, DIM), np.float32)
    noise = fixed.standard_normal((256 * 64, DIM), np.float32)
    shelves = np.repeat(departments, 64, axis=0) + np.float32(0.7) * noise
    styles = np.float32(0.4) * np.random.default_rng(1).standard_normal((24, DIM)).astype(np.float32)
    places = np.random.default_rng(2).permutation(len(shelves))
    weights = 1.0 / np.arange(1, len(shelves) + 1) ** 0.7
    random = np.random.default_rng(seed)
    out = np.empty((count, DIM), np.float32)
    for at in range(0, count, AT_ONCE):
        many = min(AT_ONCE, count - at)
        shelf = places[random.choice(len(shelves), many, p=weights / weights.sum())]
        style = np.float32(0.25) * random.standard_normal((many, 24), np.float32)
        vectors = shelves[shelf] + style @ styles + np.float32(0.25) * random.standard_normal((many, DIM), np.float32)
        out[at : at + many] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return out
