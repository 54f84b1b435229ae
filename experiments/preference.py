"""Which of two interleaved rankings is preferred, with an interval that may be looked at every day. Pure."""

from __future__ import annotations

from experiments.moments import Floats
from experiments.sequences import interval


def preference(credits: Floats, planned: int) -> tuple[float, float, float]:
    """Return the mean credit a unit (n,) and the ends of its always-valid interval: above 0, the second is preferred.

    Units are independent: sum the credits of a visitor's pages first. Raises ValueError for fewer than two.
    """
    if len(credits) < 2:
        raise ValueError(f"expected the credits of two units or more, got {len(credits)}")
    mean = float(credits.mean())
    low, high = interval(mean, float(credits.var(ddof=1)) / len(credits), len(credits), planned)
    return mean, float(low), float(high)
