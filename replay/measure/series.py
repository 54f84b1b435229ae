"""A run second by second: how many requests were due, how long they took, and what became of them. Merges exactly.

A second holds what was *due* in it, so that a stall shows where visitors felt it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from replay.measure.histogram import BUCKETS, bucket_of, middle_of

Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Series:
    """One kind of request by second. `keys` is (k,), second * BUCKETS + histogram bucket, rising; `counts` is (k,).

    `marks` counts, by name, requests of a second that were special (errors, hits): (seconds,) each.
    """

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    marks: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def of(cls, due_s: Seconds, took_ms: Seconds, marks: Mapping[str, NDArray[np.bool_]] | None = None) -> Self:
        """Count requests, shape (n,) each: when they were due, how long they took, and which were special."""
        second = np.maximum(due_s, 0.0).astype(np.int64)
        keys, counts = np.unique(second * BUCKETS + bucket_of(np.maximum(took_ms, 0.0)), return_counts=True)
        counted = {name: np.bincount(second[chosen]).astype(np.int64) for name, chosen in (marks or {}).items()}
        return cls(keys, counts.astype(np.int64), counted)

    @classmethod
    def merged(cls, parts: Iterable[Series]) -> Self:
        """Return what one series of all the requests would be."""
        parts = list(parts)
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))
        keys, place = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([part.counts for part in parts]), minlength=len(keys))
        names = dict.fromkeys(name for part in parts for name in part.marks)
        marks = {name: _sum([part.marks[name] for part in parts if name in part.marks]) for name in names}
        return cls(keys, counts.astype(np.int64), marks)

    @property
    def seconds(self) -> int:
        """How many seconds the series covers, from 0."""
        return int(self.keys[-1] // BUCKETS) + 1 if self.keys.size else 0

    def columns(self, seconds: int, prefix: str = "") -> dict[str, list[Any]]:
        """Return one column a figure, one entry a second: count, percentiles in ms (None without requests), marks."""
        second, bucket = np.divmod(self.keys, BUCKETS)
        count = np.bincount(second, self.counts, minlength=seconds).astype(np.int64)
        reached = np.cumsum(self.counts)
        before = np.concatenate([[0], np.cumsum(count)[:-1]])
        found: dict[str, list[Any]] = {f"{prefix}count": count.tolist()}
        for name, percent in (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0)):
            ranks = before + np.array([max(1, ceil(round(percent / 100.0 * one, 9))) for one in count])
            at = np.minimum(np.searchsorted(reached, ranks), max(0, len(reached) - 1))
            values = middle_of(bucket[at]) if bucket.size else np.zeros(seconds)
            found[f"{prefix}{name}"] = [
                round(value, 3) if one else None for value, one in zip(values.tolist(), count.tolist(), strict=True)
            ]
        for name, marked in self.marks.items():
            found[f"{prefix}{name}"] = _padded(marked, seconds).tolist()
        return found


def _sum(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    length = max(len(one) for one in arrays)
    summed: NDArray[np.int64] = np.stack([_padded(one, length) for one in arrays]).sum(axis=0)
    return summed


def _padded(array: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.pad(array, (0, max(0, length - len(array))))
