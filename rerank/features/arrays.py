"""Array functions that several feature blocks use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]


def share_of_best(values: Float32s, starts: NDArray[np.intp]) -> Float32s:
    """Return each value as a share of its request's largest, (c,); 0 where all are 0.

    `values` (c,) are grouped by request, c > 0; request i has those from `starts[i]` to `starts[i + 1]`.
    """
    sizes = np.diff(starts)
    some = sizes > 0  # reduceat takes no empty group
    best = np.repeat(np.maximum.reduceat(values, starts[:-1][some]), sizes[some])  # (c,)
    shares: Float32s = values / np.maximum(best, np.float32(1e-30))
    return shares


def newer_of_same(window: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which entries of windows (b, w), newest first, are newer than each and of the same item, (b, w, w)."""
    same: NDArray[np.bool_] = window[:, :, None] == window[:, None, :]
    return same & np.tri(window.shape[1], k=-1, dtype=np.bool_)
