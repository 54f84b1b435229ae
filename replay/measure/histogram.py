"""Latency distributions that merge: log-linear histograms with a bounded relative error, and percentiles read off them.

The layout is that of HdrHistogram (G. Tene): octaves cut into equal parts, so that a bucket's width is a fixed share of
its value. Two histograms add bucket by bucket, so what several processes measured merges without loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

PARTS = 128
"""Buckets an octave: the middle of a bucket is within 1 / (2 * 128) = 0.4% of everything in it."""
LOWEST_OCTAVE = -14
"""Values below 2^-14 ms (61 ns) share the first bucket, which stands for 0."""
OCTAVES = 40
BUCKETS = OCTAVES * PARTS + 1
"""The last bucket also takes what is above 2^26 ms (18 hours); the maximum is kept exactly."""


def bucket_of(values_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bucket of each value, (n,) to (n,). Negative values count as 0."""
    mantissa, exponent = np.frexp(values_ms)  # value = mantissa * 2^exponent, mantissa in [0.5, 1)
    octave = exponent.astype(np.int64) - 1 - LOWEST_OCTAVE
    bucket = octave * PARTS + ((mantissa * 2.0 - 1.0) * PARTS).astype(np.int64) + 1
    bucket[values_ms < 2.0**LOWEST_OCTAVE] = 0
    return np.minimum(bucket, BUCKETS - 1)


def middle_of(buckets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the value in ms that stands for each bucket, (n,) to (n,)."""
    octave, part = np.divmod(buckets - 1, PARTS)
    middle = np.ldexp(1.0 + (part + 0.5) / PARTS, (octave + LOWEST_OCTAVE).astype(np.int32))
    return np.where(buckets == 0, 0.0, middle)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution in milliseconds; zeros when nothing was measured."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, values_ms: NDArray[np.float64]) -> Percentiles:
        """Return the percentiles of these values, within 0.4%; mean and maximum are exact."""
        return Histogram.of(values_ms).percentiles()


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """A distribution of milliseconds. `counts` is (BUCKETS,); `total_ns` is whole, so that sums merge too."""

    counts: NDArray[np.int64]
    min: float
    max: float
    total_ns: int

    @classmethod
    def of(cls, values_ms: NDArray[np.float64]) -> Self:
        """Count values, shape (n,). Raises ValueError for a value that is no finite number."""
        values = np.asarray(values_ms, dtype=np.float64)
        if not values.size:
            return cls(np.zeros(BUCKETS, np.int64), 0.0, 0.0, 0)
        if not np.isfinite(values).all():
            raise ValueError("expected finite milliseconds, got nan or inf among the measurements")
        values = np.maximum(values, 0.0)
        counts = np.bincount(bucket_of(values), minlength=BUCKETS)
        total = int(np.rint(values * 1e6).astype(np.int64).sum())
        return cls(counts, float(values.min()), float(values.max()), total)

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Self:
        """Return what one histogram of all the values would be: exactly that, in any order of the parts."""
        filled = [part for part in parts if part.count]
        if not filled:
            return cls(np.zeros(BUCKETS, np.int64), 0.0, 0.0, 0)
        counts: NDArray[np.int64] = np.stack([part.counts for part in filled]).sum(axis=0)
        least, most = min(part.min for part in filled), max(part.max for part in filled)
        return cls(counts, least, most, sum(part.total_ns for part in filled))

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        return self.total_ns / 1e6 / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the value of nearest rank (the smallest that `percent` of all values do not exceed), within 0.4%.

        Raises ValueError for a percentage outside 0 to 100.
        """
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"expected a percentile from 0 to 100, got {percent}")
        count = self.count
        if not count:
            return 0.0
        rank = max(1, ceil(round(percent / 100.0 * count, 9)))
        if rank == count:
            return self.max
        bucket = np.searchsorted(np.cumsum(self.counts), rank)
        middle = float(middle_of(np.array([bucket]))[0])
        return min(max(middle, self.min), self.max)

    def percentiles(self) -> Percentiles:
        p50, p90, p95, p99, p999 = (round(self.percentile(cut), 3) for cut in (50.0, 90.0, 95.0, 99.0, 99.9))
        return Percentiles(self.count, round(self.mean, 3), p50, p90, p95, p99, p999, round(self.max, 3))

    def as_json(self) -> dict[str, Any]:
        """Return the filled buckets only: their numbers, the values that stand for them, and their counts."""
        filled = np.flatnonzero(self.counts)
        return {
            "buckets": filled.tolist(),
            "ms": [round(value, 6) for value in middle_of(filled).tolist()],
            "counts": self.counts[filled].tolist(),
            "min": self.min,
            "max": self.max,
            "total_ns": self.total_ns,
        }
