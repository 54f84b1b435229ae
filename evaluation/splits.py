"""Splitting clicks for evaluation. By time only: a model never learns from what came after its test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DAY_MS = 86_400_000


def cut_for_last_share(ts_ms: ArrayLike, share: float) -> int:
    """Return the time from which on the last `share` (0 to 1) of the clicks lie."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1, got {share}")
    times = np.sort(np.asarray(ts_ms, dtype=np.int64))
    if not times.size:
        raise ValueError("expected at least one click to split")
    return int(times[min(int(times.size * (1.0 - share)), times.size - 1)])
