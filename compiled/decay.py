"""Counts that fade: how kernels of several rooms carry one to a moment."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from compiled.kernels import inlined

_MOST_BITS: Final = 60.0
"""Logarithm of the largest count there is: a count may be asked as of a time before it was made."""


@inlined
def cooled(heat: Any, now_ms: Any, half_life_ms: Any) -> Any:
    """Return the count whose heat is given (`retrieval.trend_columns`): log2 of it, plus half-lives since 1970."""
    return np.float32(np.exp2(min(heat - now_ms / half_life_ms, _MOST_BITS)))
