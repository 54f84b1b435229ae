"""The loads of the serving benchmark on one running target: a ladder of rates, the highest one, overload, a soak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextclick.bench.accounting import Accounts, look, spent_between
from nextclick.bench.load import Attack, Loaded, attack

LOST = 0.001
"""Share of requests that may be lost or refused at a rate that holds."""
HOPELESS_MS = 1000.0
"""A ladder ends at a rate whose p99 is beyond this: what is faster only queues."""
PAUSE_S = 2.0
AFTER_S = 15.0
"""How long is watched after an overload."""
NORMAL_OF = 2.0
"""A gateway is normal again when a second's p99 is under this many times the one before the overload."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """What one rate got. Latencies in ms from the intended time; `cpu_us` processor time a request, by process."""

    rate: float
    sent: int
    answered: int
    p50: float
    p90: float
    p99: float
    errors: int
    refused: int
    degraded: float
    cpu_us: Mapping[str, float]
    sender_us: float

    @property
    def total_us(self) -> float:
        """All processes of the stack, without the sender."""
        return sum(self.cpu_us.values())

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "total_us": self.total_us}


def point_of(loaded: Loaded, cpu_us: Mapping[str, float]) -> RatePoint:
    """Return the figures of a load."""
    return RatePoint(
        rate=loaded.rate,
        sent=loaded.sent,
        answered=loaded.answered,
        p50=round(loaded.percentile(50), 3),
        p90=round(loaded.percentile(90), 3),
        p99=round(loaded.percentile(99), 3),
        errors=loaded.errors,
        refused=loaded.refused,
        degraded=loaded.degraded / max(1, loaded.answered),
        cpu_us={name: round(value, 1) for name, value in cpu_us.items()},
        sender_us=round(loaded.sender_cpu_s / max(1, loaded.sent) * 1e6, 1),
    )


def holds(point: RatePoint, limit_ms: float) -> bool:
    """Tell whether a rate kept its p99 under the limit and lost next to nothing."""
    return point.answered > 0 and point.p99 < limit_ms and point.sent - point.answered <= LOST * point.sent


@dataclass(frozen=True, slots=True)
class Driven:
    """A target: where its questions are, and the processes to account for."""

    targets: Path
    pids: Mapping[str, int]

    def at(self, rate: float, seconds: float) -> RatePoint:
        """Drive one rate, idle use counted."""
        before = look(self.pids)
        loaded = attack(self.targets, rate, seconds)
        time.sleep(PAUSE_S)  # what the flows do afterwards is the requests', too
        spent = spent_between(before, look(self.pids))
        return point_of(loaded, spent.each_us(loaded.sent))


def ladder(at: Callable[[float], RatePoint], rates: Sequence[float]) -> Iterator[RatePoint]:
    """Yield a point a rate, upwards, until one is hopeless."""
    for rate in sorted(rates):
        point = at(rate)
        yield point
        if not point.answered or point.p99 > HOPELESS_MS or point.answered < point.sent / 2:
            return


def highest_rate(
    at: Callable[[float], RatePoint], points: Sequence[RatePoint], limit_ms: float, precision: float = 0.1
) -> float | None:
    """Return the highest rate that holds, bisected between the highest of a ladder that did and the first above it
    that did not; None where none held. A ladder that held to its end gives its last rate.
    """
    ordered = sorted(points, key=lambda point: point.rate)
    good, bad = 0.0, None
    for point in ordered:
        if not holds(point, limit_ms):
            bad = point.rate
            break
        good = point.rate
    while bad is not None and good and bad - good > precision * good:
        middle = (good + bad) / 2.0
        if holds(at(middle), limit_ms):
            good = middle
        else:
            bad = middle
    return good or None


@dataclass(frozen=True, slots=True)
class Overload:
    """Twice what it can: latency of what was admitted, refusals, and how long it took to be normal again."""

    rate: float
    sent: int
    answered: int
    refused: int
    with_retry_after: int
    errors: int
    p99: float
    normal_after_s: float | None


def overload(driven: Driven, highest: float, seconds: float) -> Overload:
    """Send twice the highest rate, then a tenth of it until the answers are as fast as they were."""
    before = attack(driven.targets, highest / 10.0, 5.0)
    loaded = attack(driven.targets, 2.0 * highest, seconds)
    after = attack(driven.targets, highest / 10.0, AFTER_S)
    return Overload(
        rate=2.0 * highest,
        sent=loaded.sent,
        answered=loaded.answered,
        refused=loaded.refused,
        with_retry_after=loaded.retry_after,
        errors=loaded.errors,
        p99=round(loaded.percentile(99), 3),
        normal_after_s=normal_after(after, NORMAL_OF * max(5.0, before.percentile(99))),
    )


def normal_after(loaded: Loaded, bound_ms: float) -> float | None:
    """Return the seconds after which every answer was faster than a bound; None where the last one was not."""
    slow = loaded.finished_s[loaded.latency_ms > bound_ms]
    if not len(slow):
        return 0.0
    last = float(slow.max())
    return round(last, 2) if last < float(loaded.finished_s.max()) else None


@dataclass(frozen=True, slots=True)
class Soak:
    """A long load: growth of each process in % since `settled_s`, and the p99 of its first and last part, ms."""

    rate: float
    seconds: float
    growth: Mapping[str, float]
    first_p99: float
    last_p99: float
    errors: int


def soak(driven: Driven, rate: float, seconds: float, *, beside: Callable[[float], None] | None = None) -> Soak:
    """Drive a rate for long, in parts of at most a minute, and watch memory after the first sixth of it."""
    parts = max(6, round(seconds / 60.0))
    looks, p99s, errors = list[Accounts](), list[float](), 0
    for _ in range(parts):
        asking = Attack(driven.targets, rate, seconds / parts)
        if beside is not None:
            beside(seconds / parts)
        loaded = asking.wait()
        errors += loaded.sent - loaded.answered
        p99s.append(loaded.percentile(99))
        looks.append(look(driven.pids))
    settled = len(looks) // 6
    third = max(1, len(p99s) // 3)
    return Soak(
        rate=rate,
        seconds=seconds,
        growth=growth(looks[settled], looks[-1]),
        first_p99=round(float(np.median(p99s[:third])), 3),
        last_p99=round(float(np.median(p99s[-third:])), 3),
        errors=errors,
    )


def growth(before: Accounts, after: Accounts) -> dict[str, float]:
    """Return by how many % each process's memory grew."""
    return {
        name: round(100.0 * (usage.resident_bytes / before.by_name[name].resident_bytes - 1.0), 2)
        for name, usage in after.by_name.items()
        if name in before.by_name and before.by_name[name].resident_bytes
    }
