"""What was measured: when every request was meant to go, went, and was answered. Latency counts from the first."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from replay.measure.histogram import Histogram, Percentiles

__all__ = ["Percentiles", "Timings"]


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

    def latency_ms(self) -> NDArray[np.float64]:
        """From the intended time: what a visitor would have waited. (n,)."""
        waited: NDArray[np.float64] = (np.array(self.done) - np.array(self.intended)) * 1000.0
        return waited

    def service_ms(self) -> NDArray[np.float64]:
        """From the moment of sending: what the target took, without the wait before it. (n,)."""
        took: NDArray[np.float64] = (np.array(self.done) - np.array(self.sent)) * 1000.0
        return took

    def latest_ms(self, count: int) -> tuple[float, float]:
        """Return p50 and p99 from the intended time of the last `count` entries; zeros without any."""
        done, intended = np.array(self.done[-count:]), np.array(self.intended[-count:])
        if not len(done):
            return 0.0, 0.0
        p50, p99 = np.percentile((done - intended) * 1000.0, (50, 99))
        return float(p50), float(p99)

    def latency(self) -> Percentiles:
        return Histogram.of(self.latency_ms()).percentiles()

    def service(self) -> Percentiles:
        return Histogram.of(self.service_ms()).percentiles()
