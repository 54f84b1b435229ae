"""What a run comes to: counts, latencies, whether it may be believed; as a record and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from evaluation.report import describe_machine
from replay.live import Asked, HitRates, stage_percentiles
from replay.play import Limits, Played
from replay.timings import Percentiles

MAX_LAG_MS = 20.0
MAX_LATE_SHARE = 0.01
"""A run that released more than this share of its events later than MAX_LAG_MS measures the sender, not the target."""
MIN_LATE = 10
"""Fewer late events than this are a hiccup, however short the run."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What asking for recommendations came to. Times in ms; `stages` as the gateway told them."""

    questions: int
    errors: dict[str, int]
    degraded: dict[str, int]
    stale: int
    short: int
    models: dict[str, int]
    latency: Percentiles
    service: Percentiles
    stages: dict[str, Percentiles]


@dataclass(frozen=True, slots=True)
class PlayResult:
    """One replay. `latency` counts from the intended time, `service` from the moment of sending, both in ms an event.

    `invalid` says why the figures are not the target's; empty for a run that may be believed. `scheduled` is the
    number of events that came due; each was accepted, rejected or failed.
    """

    run: str
    recording: str
    target: str
    pace: str
    scheduled: int
    accepted: int
    rejected: dict[str, int]
    failed: dict[str, int]
    requests: int
    retries: int
    elapsed_s: float
    latency: Percentiles
    service: Percentiles
    sender_lag: Percentiles
    invalid: tuple[str, ...]
    stopped: bool
    answers: Answers | None = None
    hit_rates: HitRates | None = None

    @property
    def rate(self) -> float:
        """Events accepted a second."""
        return self.accepted / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def lost(self) -> int:
        """Events that were neither accepted nor rejected for a reason."""
        return sum(self.failed.values())

    def as_json(self) -> dict[str, Any]:
        found = asdict(self) | {"rate": self.rate, "machine": asdict(describe_machine())}
        found["hit_rates"] = self.hit_rates.as_json() if self.hit_rates else None
        return found

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def why_invalid(played: Played, limits: Limits) -> tuple[str, ...]:
    """Return the reasons not to believe a run's latencies."""
    found = []
    late = int(np.count_nonzero(np.array(played.lag_s) > MAX_LAG_MS / 1000.0))
    if late >= MIN_LATE and late > MAX_LATE_SHARE * len(played.lag_s):
        found.append(
            f"the sender was the bottleneck: it released {late / len(played.lag_s):.1%} of the events more than "
            f"{MAX_LAG_MS:.0f} ms late: play slower, or give it a core of its own"
        )
    if played.abandoned:
        found.append(f"the target took nothing for {limits.patience_s:g} s, and was given up: is it still there?")
    if played.overflowed:
        found.append(
            f"the target fell behind until {limits.waiting:,} events waited, and held the schedule back: play slower"
        )
    return tuple(found)


def lateness(played: Played) -> Percentiles:
    """How late the sender itself released events, ms."""
    return Percentiles.of(np.array(played.lag_s, dtype=np.float64) * 1000.0)


def answers_of(asked: Asked) -> Answers:
    return Answers(
        questions=asked.questions,
        errors=dict(asked.errors),
        degraded=dict(asked.degraded),
        stale=asked.stale,
        short=asked.short,
        models=dict(asked.models),
        latency=asked.timings.latency(),
        service=asked.timings.service(),
        stages=stage_percentiles(asked),
    )
