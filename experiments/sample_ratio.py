"""The sample-ratio check: are there as many units in each variant as the shares say? Pure.

Pearson's chi-square. A mismatch means that units were lost or moved on the way, mostly for a reason that the outcome
depends on. So no other figure of the experiment is to be believed (Fabijan et al. 2019; Kohavi, Tang and Xu 2020,
chapter 21).

The chi-square test is for one look. Who looks every minute asks `always_valid_ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Final

import numpy as np
from scipy.stats import chi2

from experiments.moments import Floats

STOP_BELOW: Final = 0.001
FEWEST: Final = 5.0
"""Units that the shares must expect in each variant: with fewer the distribution does not hold."""

CONCENTRATION: Final = 1_000.0
"""Of the Dirichlet prior about the shares that were set. Of 50 and 50, 52 and 48 is found after 11,100 units (the
chi-square test, with one look: 6,800), 55 and 45 after 2,200; a hundred or ten thousand is no better for both."""


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
    observed, parts = _expected(counts, shares)
    expected = observed.sum() * parts
    p = None
    if expected.min() >= FEWEST:
        p = float(chi2.sf(((observed - expected) ** 2 / expected).sum(), len(counts) - 1))
    return SampleRatio(tuple(counts), tuple(expected.tolist()), p)


def always_valid_ratio(counts: Sequence[int], shares: Sequence[float] | None = None) -> SampleRatio:
    """As `sample_ratio`, with a p-value that is below 0.001 at any of all looks at most once in 1,000 experiments.

    The inverse of the Bayes factor of shares drawn from a Dirichlet distribution about those that were set, against
    these (Lindon and Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022). Raises as
    `sample_ratio`.
    """
    observed, parts = _expected(counts, shares)
    prior = CONCENTRATION * parts
    evidence = lgamma(CONCENTRATION) - lgamma(CONCENTRATION + float(observed.sum()))
    for count, before, share in zip(observed.tolist(), prior.tolist(), parts.tolist(), strict=True):
        evidence += lgamma(before + count) - lgamma(before) - count * log(share)
    return SampleRatio(tuple(counts), tuple((observed.sum() * parts).tolist()), exp(min(0.0, -evidence)))


def _expected(counts: Sequence[int], shares: Sequence[float] | None) -> tuple[Floats, Floats]:
    """Return the counts, and the shares as parts of 1."""
    shares = [1.0] * len(counts) if shares is None else shares
    if len(counts) < 2 or len(shares) != len(counts):
        raise ValueError(f"expected two variants or more and a share for each, got {len(counts)} and {len(shares)}")
    if min(shares) <= 0.0:
        raise ValueError(f"expected shares above 0, got {min(shares)}")
    observed, parts = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    return observed, parts / parts.sum()
