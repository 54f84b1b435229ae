"""What was measured: when every request was meant to go, went, and was answered. Latency counts from the first."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


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
    def of(cls, values: NDArray[np.float64]) -> Percentiles:
        if not values.size:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        p50, p90, p95, p99, p999 = (round(float(cut), 3) for cut in np.percentile(values, PERCENTILES))
        mean, largest = round(float(values.mean()), 3), round(float(values.max()), 3)
        return cls(int(values.size), mean, p50, p90, p95, p99, p999, largest)


@dataclass(slots=True)
class Timings:
    """Intended, sent and done times, seconds after the start, one entry a request. Grows: 24 bytes an entry.

    Latency from the intended time shows what a visitor would have waited, also while the sender was held up by an
    earlier answer; latency from the sent time alone hides such stalls (coordinated omission).
    """

    intended: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    done: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.done)

    def add(self, intended_s: float, sent_s: float, done_s: float) -> None:
        self.intended.append(intended_s)
        self.sent.append(sent_s)
        self.done.append(done_s)

    def columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return intended, sent and done, each (n,) seconds after the start."""
        return np.array(self.intended), np.array(self.sent), np.array(self.done)

    def latency(self) -> Percentiles:
        """From the intended time, ms."""
        return Percentiles.of((np.array(self.done) - np.array(self.intended)) * 1000.0)

    def service(self) -> Percentiles:
        """From the moment of sending, ms: what the target took, without the wait before it."""
        return Percentiles.of((np.array(self.done) - np.array(self.sent)) * 1000.0)
