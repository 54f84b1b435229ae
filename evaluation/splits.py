"""Splitting clicks for evaluation. By time only: a model never learns from what came after its test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DAY_MS = 86_400_000


def cut_for_last_share(ts_ms: ArrayLike, share: float) -> int:
    """Return the time from which on the last `share` (0 to 1) of the clicks lie."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1, got {share}")
    times = np.sort(np.asarray(ts_ms, dtype=np.int64))
    if not times.size:
        raise ValueError("expected at least one click to split")
    return int(times[min(int(times.size * (1.0 - share)), times.size - 1)])


def sessions_around(sessions: ArrayLike, ts_ms: ArrayLike, cut_ms: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two masks (n,) over clicks: sessions wholly before `cut_ms`, and sessions wholly from it on.

    sessions (n,) code or id of each click's session; ts_ms (n,). A session on both sides is in neither, so that the
    test holds no session that training has seen the start of.
    """
    times = np.asarray(ts_ms, dtype=np.int64)
    _, codes = np.unique(np.asarray(sessions), return_inverse=True)
    count = int(codes.max()) + 1 if codes.size else 0
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, codes, times)
    np.maximum.at(last, codes, times)
    return (last < cut_ms)[codes], (first >= cut_ms)[codes]
