"""What a run comes to: counts, latencies, seconds, whether it may be believed; as a record and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from contracts.masked import masked
from contracts.outputs import json_kind, write_output
from evaluation.machine import describe_machine
from replay.measure.histogram import Histogram, Percentiles
from replay.measure.hit_rates import HitRates
from replay.measure.tally import AnswerTally, Tally, VisibleTally, why_invalid

__all__ = ["Answers", "PlayResult", "Visibility", "result_of", "why_invalid"]

RESULT = json_kind("the result of a replay", "run", "accepted", "latency")
EVENTS, ANSWERS, ALL_REQUESTS, VISIBLE = "events", "answers", "requests", "visible"
"""Names of histograms: from the intended time, but for `visible`, which counts from the sending of the click."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What asking for recommendations came to. Times in ms; `stages` as the target told them. A click came after
    `followed` questions, and was in the answers of `hits`. `dropped` is what rules dropped (`Drops.as_json`).
    """

    questions: int
    errors: dict[str, int]
    degraded: dict[str, int]
    stale: int
    short: int
    models: dict[str, int]
    latency: Percentiles
    service: Percentiles
    stages: dict[str, Percentiles]
    hits: int = 0
    followed: int = 0
    dropped: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Visibility:
    """Click to visible, in ms, of the clicks that were watched; `never` were not visible in time."""

    visible: Percentiles
    never: int
    errors: dict[str, int]


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
    seen: Visibility | None = None
    bottleneck: bool = False
    workers: int = 1
    copies: int = 1
    answers_file: str = ""
    series: Mapping[str, list[Any]] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events accepted a second."""
        return self.accepted / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def lost(self) -> int:
        """Events that were neither accepted nor rejected for a reason."""
        return sum(self.failed.values())

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values. `series` has a column a figure, one entry a second of the schedule."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("latency", "service", "sender_lag", "answers", "seen"):
            given[name] = asdict(given[name]) if given[name] is not None else None
        return given | {
            "rate": self.rate,
            "machine": asdict(describe_machine()),
            "hit_rates": self.hit_rates.as_json() if self.hit_rates else None,
            "histograms": {name: histogram.as_json() for name, histogram in self.histograms.items()},
        }

    def write(self, path: Path) -> None:
        content = orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        write_output(path, content, RESULT)


def result_of(
    tally: Tally,
    *,
    run: str,
    recording: str,
    target: str,
    pace: str,
    hit_rates: HitRates | None = None,
    workers: int = 1,
    copies: int = 1,
    answers_file: str = "",
) -> PlayResult:
    """Return the result that a tally comes to."""
    return PlayResult(
        run=run,
        recording=recording,
        target=masked(target),
        pace=pace,
        scheduled=tally.lag.count,
        accepted=tally.accepted,
        rejected=dict(tally.rejected),
        failed=dict(tally.failed),
        requests=tally.requests,
        retries=tally.retries,
        elapsed_s=round(tally.elapsed_s, 3),
        latency=tally.events.latency.percentiles(),
        service=tally.events.service.percentiles(),
        sender_lag=tally.lag.percentiles(),
        invalid=tally.invalid,
        stopped=tally.stopped,
        answers=_answers(tally.asked) if tally.asked is not None else None,
        hit_rates=hit_rates,
        seen=_seen(tally.visible) if tally.visible is not None else None,
        bottleneck=tally.bottleneck,
        workers=workers,
        copies=copies,
        answers_file=answers_file,
        series=_series(tally),
        histograms=_histograms(tally),
    )


def _answers(asked: AnswerTally) -> Answers:
    return Answers(
        questions=asked.measured.latency.count,
        followed=len(asked.ranks),
        errors=dict(asked.errors),
        degraded=dict(asked.degraded),
        stale=asked.stale,
        short=asked.short,
        models=dict(asked.models),
        latency=asked.measured.latency.percentiles(),
        service=asked.measured.service.percentiles(),
        stages={stage: times.percentiles() for stage, times in asked.stages.items()},
        hits=asked.hits,
        dropped=asked.dropped.as_json(),
    )


def _seen(visible: VisibleTally) -> Visibility:
    return Visibility(visible.measured.service.percentiles(), visible.never, dict(visible.errors))


def _histograms(tally: Tally) -> dict[str, Histogram]:
    found = {EVENTS: tally.events.latency, f"{EVENTS}_service": tally.events.service, "sender_lag": tally.lag}
    if tally.asked is not None:
        found |= {ANSWERS: tally.asked.measured.latency, f"{ANSWERS}_service": tally.asked.measured.service}
        found |= {f"stage_{stage}": times for stage, times in tally.asked.stages.items()}
        found[ALL_REQUESTS] = Histogram.merged([tally.events.latency, tally.asked.measured.latency])
    else:
        found[ALL_REQUESTS] = tally.events.latency
    if tally.visible is not None:
        found[VISIBLE] = tally.visible.measured.service
    return found


def _series(tally: Tally) -> dict[str, list[Any]]:
    """Return the columns by second: of events as they are, of answers and click to visible with their prefix."""
    kinds = {"": tally.events.series}
    if tally.asked is not None:
        kinds["answers_"] = tally.asked.measured.series
    if tally.visible is not None:
        kinds["visible_"] = tally.visible.measured.series
    seconds = max(series.seconds for series in kinds.values())
    found: dict[str, list[Any]] = {"second": list(range(seconds))}
    for prefix, series in kinds.items():
        found |= series.columns(seconds, prefix)
    if tally.asked is not None:
        pairs = zip(found["answers_hits"], found["answers_followed"], strict=True)
        found["answers_hit_rate"] = [round(hits / followed, 4) if followed else None for hits, followed in pairs]
    return found
