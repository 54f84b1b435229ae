"""Moments of a variant's units: count, means and covariances of their columns. Additive, so hours and days add up.

A column is one number a unit (a visitor or a session): what it bought, how many pages it saw. Products are kept around
the mean, and added as Chan, Golub and LeVeque (1983) add them: sums of squares of large numbers would lose the digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Leading shape (...) is any: one experiment, or many looks at many of them at once."""

    count: Floats  # (...)
    mean: Floats  # (..., k)
    scatter: Floats  # (..., k, k) summed products of the distances to the mean

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Return the moments of units (n, k), or (n,) for one column. Raises ValueError for no units."""
        table = np.asarray(values, dtype=np.float64)
        table = table[:, None] if table.ndim == 1 else table  # (n, k)
        if not len(table):
            raise ValueError("expected at least one unit, got none")
        mean = table.mean(axis=0)
        apart = table - mean
        return cls(np.float64(len(table)) * np.ones(()), mean, apart.T @ apart)

    @classmethod
    def from_sums(cls, count: ArrayLike, total: ArrayLike, squares: ArrayLike) -> Self:
        """Return the moments of one column from counts, sums and sums of squares, each of one shape (...).

        Exact as long as squares stay below 2^53 times the variance.
        """
        n, s, q = (np.asarray(one, dtype=np.float64) for one in (count, total, squares))
        return cls(n, (s / n)[..., None], np.maximum(q - s * s / n, 0.0)[..., None, None])

    def __add__(self, other: Self) -> Self:
        """Return the moments of both groups of units together."""
        count = self.count + other.count
        apart = other.mean - self.mean  # (..., k)
        share = (other.count / count)[..., None]
        between = apart[..., :, None] * apart[..., None, :] * (self.count * other.count / count)[..., None, None]
        return type(self)(count, self.mean + apart * share, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Floats:
        """Sample covariances (..., k, k); NaN of fewer than two units."""
        free = np.where(self.count > 1, self.count - 1.0, np.nan)
        return np.asarray(self.scatter / free[..., None, None])
