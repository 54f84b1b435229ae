"""What a run has to keep to, as an expression: `p99<50ms, errors<0.1%, fresh_p99<200ms, hit_rate>=0.3`.

| metric | what |
|---|---|
| p50, p99, p99.9, ..., mean, max | all requests, from their intended time |
| events_p99, answers_p99, ... | events, or recommendations, alone |
| service_p99, answers_service_p99 | from the moment of sending |
| fresh_p99, ... | click to visible (a run with watched clicks) |
| stage_NAME_p99 | a stage of the answer, as the target told it |
| lag_p99, ... | the sender's own lateness |
| errors, degraded, rejected, stale, never | shares: of requests, answers, events, answers, watched clicks |
| hit_rate | share of answers before a click that had it |
| rate | events accepted a second |
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.errors import SettingsError
from replay.measure.histogram import Histogram
from replay.measure.result import ALL_REQUESTS, PlayResult

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"^\s*([a-z][\w.]*)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(ms|us|s|%|/s)?\s*$")
_TIME = re.compile(r"^(?:(.+)_)?(?:p(\d+(?:\.\d+)?)|(mean|max))$")
_KINDS = {
    None: ALL_REQUESTS,
    "events": "events",
    "answers": "answers",
    "service": "events_service",
    "answers_service": "answers_service",
    "fresh": "visible",
    "lag": "sender_lag",
}
_SHARES = ("errors", "degraded", "rejected", "stale", "never", "hit_rate")
_TIME_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `limit` is in ms for times, a share for shares, events a second for `rate`."""

    text: str
    metric: str
    compare: str
    limit: float

    def holds(self, value: float | None) -> bool:
        """Whether a measured value keeps to it; what was not measured does not."""
        return value is not None and _COMPARE[self.compare](value, self.limit)


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition and what was measured, None when it was not."""

    condition: Condition
    value: float | None

    @property
    def ok(self) -> bool:
        return self.condition.holds(self.value)

    def __str__(self) -> str:
        got = "not measured" if self.value is None else shown(self.condition.metric, self.value)
        return f"{self.condition.text}: {got}"


@dataclass(frozen=True, slots=True)
class Slo:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Read conditions with commas between. Raises SettingsError that shows the part it does not understand."""
        return cls(tuple(_condition(part) for part in text.split(",")))

    def check(self, result: PlayResult) -> list[Checked]:
        return [Checked(condition, measured(result, condition.metric)) for condition in self.conditions]

    @property
    def needs_freshness(self) -> bool:
        return any(one.metric.startswith("fresh_") or one.metric == "never" for one in self.conditions)

    @property
    def needs_answers(self) -> bool:
        wanted = ("answers_", "stage_", "degraded", "stale", "hit_rate")
        return any(one.metric.startswith(wanted) for one in self.conditions)

    def __str__(self) -> str:
        return ", ".join(condition.text for condition in self.conditions)


def measured(result: PlayResult, metric: str) -> float | None:
    """Return a metric of a run: ms, a share, or a rate. None when the run did not measure it."""
    time = _TIME.match(metric)
    if time is not None:
        kind = time[1]
        histogram = result.histograms.get(_KINDS[kind] if kind in _KINDS else str(kind))
        return _at(histogram, time[2], time[3]) if histogram is not None and histogram.count else None
    if metric == "rate":
        return result.rate
    answers, seen = result.answers, result.seen
    asked = answers.questions if answers is not None else 0
    if metric == "errors":
        failed = result.lost + (sum(answers.errors.values()) if answers is not None else 0)
        return _share(failed, result.scheduled + asked)
    if metric == "rejected":
        return _share(sum(result.rejected.values()), result.scheduled)
    if metric == "never":
        return _share(seen.never, seen.never + seen.visible.count) if seen is not None else None
    if answers is None:
        return None
    if metric == "degraded":
        return _share(sum(result.series.get("answers_degraded", ())), asked)
    return _share(answers.stale, asked) if metric == "stale" else _share(answers.hits, answers.followed)


def shown(metric: str, value: float) -> str:
    """Return a value as people read it: with its unit."""
    if metric == "rate":
        return f"{value:,.1f}/s"
    if metric in _SHARES:
        return f"{value:.3%}" if metric != "hit_rate" else f"{value:.4f}"
    return f"{value:,.2f} ms"


def _condition(text: str) -> Condition:
    found = _CONDITION.match(text)
    if found is None:
        raise SettingsError(
            f"expected a condition such as p99<50ms, errors<0.1%, fresh_p99<200ms or hit_rate>=0.3, got {text!r}"
        )
    metric, compare, number, unit = found.groups()
    value, time = float(number), _TIME.match(metric)
    if time is not None and (time[1] in _KINDS or str(time[1]).startswith("stage_")):
        if unit not in _TIME_UNITS:
            raise SettingsError(f"{text.strip()}: expected a time in us, ms or s, got {number}{unit or ''}")
        if time[2] is not None and float(time[2]) > 100:
            raise SettingsError(f"{text.strip()}: expected a percentile up to 100, got {metric}")
        return Condition(text.strip(), metric, compare, value * _TIME_UNITS[unit])
    if metric in _SHARES:
        if unit not in (None, "%"):
            raise SettingsError(f"{text.strip()}: expected a share such as 0.1% or 0.001, got {number}{unit}")
        return Condition(text.strip(), metric, compare, value / 100.0 if unit == "%" else value)
    if metric == "rate":
        if unit not in (None, "/s"):
            raise SettingsError(f"{text.strip()}: expected events a second, got {number}{unit}")
        return Condition(text.strip(), metric, compare, value)
    known = ", ".join(("p99", "events_p99", "answers_p99", "service_p99", "fresh_p99", *_SHARES, "rate"))
    raise SettingsError(f"{text.strip()}: expected one of {known} (and other percentiles, mean, max), got {metric}")


def _at(histogram: Histogram, percent: str | None, other: str | None) -> float:
    if other is not None:
        return histogram.max if other == "max" else histogram.mean
    return histogram.percentile(float("99.9" if percent == "999" else str(percent)))


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def failures(checked: Sequence[Checked]) -> list[Checked]:
    """Return those that do not hold."""
    return [one for one in checked if not one.ok]
