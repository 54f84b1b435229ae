"""What a run, or one worker's share of it, came to, in a form that merges exactly: counts, histograms, seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from replay.engine.play import FAILED, Limits, Played
from replay.measure.drops import Drops
from replay.measure.histogram import Histogram, Percentiles
from replay.measure.live import DEGRADED, ERROR, FOLLOWED, HIT, AnswerCounts
from replay.measure.series import Series
from replay.measure.visible import Visible

MAX_LAG_MS = 20.0
MAX_LATE_SHARE = 0.01
"""A run that released more than this share of its events later than MAX_LAG_MS measures the sender, not the target."""
MIN_LATE = 10
"""Fewer late events than this are a hiccup, however short the run."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of request. `latency` counts from the intended time, `service` from the moment of sending, in ms."""

    latency: Histogram
    service: Histogram
    series: Series

    @classmethod
    def merged(cls, parts: Sequence[Measured]) -> Measured:
        return cls(
            Histogram.merged(part.latency for part in parts),
            Histogram.merged(part.service for part in parts),
            Series.merged(part.series for part in parts),
        )


@dataclass(frozen=True, slots=True)
class AnswerTally:
    """What asking for recommendations came to. `ranks` maps a question's place in the schedule to the item's rank."""

    measured: Measured
    ranks: dict[int, int]
    stages: dict[str, Histogram]
    degraded: Counter[str]
    errors: Counter[str]
    models: Counter[str]
    dropped: Drops
    stale: int
    short: int
    hits: int

    @classmethod
    def of(cls, asked: AnswerCounts) -> AnswerTally:
        timings, flags = asked.timings, np.array(asked.flags, dtype=np.uint8)
        bits = (("errors", ERROR), ("degraded", DEGRADED), ("hits", HIT), ("followed", FOLLOWED))
        marks = {name: (flags & bit) > 0 for name, bit in bits}
        latency, due_s = timings.latency_ms(), np.array(timings.intended)
        return cls(
            Measured(Histogram.of(latency), Histogram.of(timings.service_ms()), Series.of(due_s, latency, marks)),
            asked.ranks,
            {stage: Histogram.of(np.array(took_us) / 1000.0) for stage, took_us in asked.stages_us.items()},
            asked.degraded,
            asked.errors,
            asked.models,
            asked.dropped,
            asked.stale,
            asked.short,
            asked.hits,
        )

    @classmethod
    def merged(cls, parts: Sequence[AnswerTally]) -> AnswerTally:
        stages = dict.fromkeys(stage for part in parts for stage in part.stages)
        return cls(
            Measured.merged([part.measured for part in parts]),
            {place: rank for part in parts for place, rank in part.ranks.items()},
            {name: Histogram.merged(one.stages[name] for one in parts if name in one.stages) for name in stages},
            sum((part.degraded for part in parts), Counter[str]()),
            sum((part.errors for part in parts), Counter[str]()),
            sum((part.models for part in parts), Counter[str]()),
            Drops.merged(part.dropped for part in parts),
            sum(part.stale for part in parts),
            sum(part.short for part in parts),
            sum(part.hits for part in parts),
        )


@dataclass(frozen=True, slots=True)
class VisibleTally:
    """Click to visible, from the sending of a click to an answer that knows it, ms."""

    measured: Measured
    never: int
    errors: Counter[str]

    @classmethod
    def of(cls, visible: Visible) -> VisibleTally:
        took = visible.timings.service_ms()
        series = Series.of(np.array(visible.timings.intended), took)
        measured = Measured(Histogram.of(visible.timings.latency_ms()), Histogram.of(took), series)
        return cls(measured, visible.never, Counter(visible.errors))

    @classmethod
    def merged(cls, parts: Sequence[VisibleTally]) -> VisibleTally:
        measured = Measured.merged([part.measured for part in parts])
        errors = sum((part.errors for part in parts), Counter[str]())
        return cls(measured, sum(part.never for part in parts), errors)


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything that a run's result is made of. `lag` is how late the sender itself released events, ms."""

    events: Measured
    lag: Histogram
    accepted: int
    rejected: Counter[str]
    failed: Counter[str]
    requests: int
    retries: int
    elapsed_s: float
    invalid: tuple[str, ...]
    stopped: bool
    bottleneck: bool = False
    asked: AnswerTally | None = None
    visible: VisibleTally | None = None
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Every request's times, when they are wanted."""

    @classmethod
    def of(
        cls, played: Played, limits: Limits, asked: AnswerCounts | None = None, visible: Visible | None = None
    ) -> Tally:
        timings, outcomes = played.timings, np.array(played.outcomes, dtype=np.uint8)
        latency = timings.latency_ms()
        series = Series.of(np.array(timings.intended), latency, {"errors": outcomes == FAILED})
        return cls(
            events=Measured(Histogram.of(latency), Histogram.of(timings.service_ms()), series),
            lag=Histogram.of(np.array(played.lag_s, dtype=np.float64) * 1000.0),
            accepted=played.accepted,
            rejected=played.rejected,
            failed=played.failed,
            requests=played.requests,
            retries=played.retries,
            elapsed_s=played.elapsed_s,
            invalid=why_invalid(played, limits),
            stopped=played.stopped,
            bottleneck=_late_share(played) > 0,
            asked=AnswerTally.of(asked) if asked is not None else None,
            visible=VisibleTally.of(visible) if visible is not None else None,
        )

    @classmethod
    def merged(cls, parts: Sequence[Tally]) -> Tally:
        """Return what one process would have counted. A worker's reason for an invalid run counts for the whole."""
        return cls(
            events=Measured.merged([part.events for part in parts]),
            lag=Histogram.merged(part.lag for part in parts),
            accepted=sum(part.accepted for part in parts),
            rejected=sum((part.rejected for part in parts), Counter[str]()),
            failed=sum((part.failed for part in parts), Counter[str]()),
            requests=sum(part.requests for part in parts),
            retries=sum(part.retries for part in parts),
            elapsed_s=max(part.elapsed_s for part in parts),
            invalid=_reasons(parts),
            stopped=any(part.stopped for part in parts),
            bottleneck=any(part.bottleneck for part in parts),
            asked=AnswerTally.merged(asked) if (asked := [part.asked for part in parts if part.asked]) else None,
            visible=VisibleTally.merged(seen) if (seen := [part.visible for part in parts if part.visible]) else None,
            columns=_stacked([part.columns for part in parts]),
        )


def why_invalid(played: Played, limits: Limits) -> tuple[str, ...]:
    """Return the reasons not to believe a run's latencies."""
    found = []
    if late_share := _late_share(played):
        found.append(
            f"the sender was the bottleneck: it released {late_share:.1%} of the events more than "
            f"{MAX_LAG_MS:.0f} ms late: play slower, with more --workers, or give it a core of its own"
        )
    if played.abandoned:
        found.append(f"the target took nothing for {limits.patience_s:g} s, and was given up: is it still there?")
    if played.cut:
        found.append(f"the target fell behind: what waited {limits.drain_s:g} s after the last event was due was cut")
    if played.overflowed:
        found.append(
            f"the target fell behind until {limits.waiting:,} events waited, and held the schedule back: play slower"
        )
    return tuple(found)


def _late_share(played: Played) -> float:
    """Return the share of events that the sender released late, 0 while it is too small to matter."""
    late = int(np.count_nonzero(np.array(played.lag_s) > MAX_LAG_MS / 1000.0))
    share = late / len(played.lag_s) if late else 0.0
    return share if late >= MIN_LATE and share > MAX_LATE_SHARE else 0.0


def lateness(played: Played) -> Percentiles:
    """How late the sender itself released events, ms."""
    return Percentiles.of(np.array(played.lag_s, dtype=np.float64) * 1000.0)


def _reasons(parts: Sequence[Tally]) -> tuple[str, ...]:
    if len(parts) == 1:
        return parts[0].invalid
    return tuple(f"worker {number}: {reason}" for number, part in enumerate(parts, 1) for reason in part.invalid)


def _stacked(parts: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}
