"""Values without the few that drown the rest: winsorised revenue. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from experiments.moments import Floats


def cap_of(values: ArrayLike, share: float) -> float:
    """Return the value that this share of the values above 0 do not exceed; infinity where none is above 0.

    Of those above 0 alone: where few visitors buy, the quantile of all visitors would be 0. Take the cap of all
    variants together, or it would differ between them. Raises ValueError for a share outside (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"expected a share above 0 and up to 1, got {share}")
    spent = np.asarray(values, dtype=np.float64)
    spent = spent[spent > 0.0]
    return float(np.quantile(spent, share)) if len(spent) else float("inf")


def winsorised(values: ArrayLike, cap: float) -> Floats:
    """Return the values with what lies outside [-cap, cap] moved to its end. The order of units stays."""
    return np.clip(np.asarray(values, dtype=np.float64), -cap, cap)
