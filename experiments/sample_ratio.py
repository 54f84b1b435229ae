"""The sample-ratio check: are there as many units in each variant as the shares say? Pure.

Pearson's chi-square. A mismatch means that units were lost or moved on the way, mostly for a reason that the outcome
depends on. So no other figure of the experiment is to be believed (Fabijan et al. 2019; Kohavi, Tang and Xu 2020,
chapter 21).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import chi2

STOP_BELOW: Final = 0.001
FEWEST: Final = 5.0
"""Units that the shares must expect in each variant: with fewer the distribution does not hold."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """`p` is None where there are too few units to tell."""

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p: float | None

    @property
    def is_broken(self) -> bool:
        """Whether the experiment is to be stopped."""
        return self.p is not None and self.p < STOP_BELOW


def sample_ratio(counts: Sequence[int], shares: Sequence[float] | None = None) -> SampleRatio:
    """Compare units of each variant with its share; none given: equal ones. Shares are relative to each other.

    Raises ValueError for fewer than two variants, another number of shares, or a share that is not above 0.
    """
    shares = [1.0] * len(counts) if shares is None else shares
    if len(counts) < 2 or len(shares) != len(counts):
        raise ValueError(f"expected two variants or more and a share for each, got {len(counts)} and {len(shares)}")
    if min(shares) <= 0.0:
        raise ValueError(f"expected shares above 0, got {min(shares)}")
    observed, parts = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    expected = observed.sum() * parts / parts.sum()
    p = None
    if expected.min() >= FEWEST:
        p = float(chi2.sf(((observed - expected) ** 2 / expected).sum(), len(counts) - 1))
    return SampleRatio(tuple(counts), tuple(expected.tolist()), p)
