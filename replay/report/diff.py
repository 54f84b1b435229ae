"""What changed from one run to another: differences with 95% intervals, and conditions on them. Pure.

Latencies are compared by resampling both runs' histograms (the percentile bootstrap, Efron 1979), hit rates by
Newcombe's hybrid score interval (1998, method 10). Both take requests as independent, so what differs from one run of
the same thing to the next is not in the interval: repeat runs where that matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from evaluation.metrics import wilson_interval
from replay.measure.objectives import Condition

PERCENTS = (50.0, 90.0, 99.0)
DRAWS = 1000
_Z = 1.959964
_KINDS = {
    "requests": "",
    "events": "events_",
    "events_service": "service_",
    "answers": "answers_",
    "answers_service": "answers_service_",
    "visible": "fresh_",
}
_METRIC = r"([a-z][\w@]*(?:\.\d+)?)(?:\.(low|high))?"
_CONDITION = re.compile(rf"^\s*{_METRIC}\s*(<=|>=|<|>)\s*([+-]?\d+(?:\.\d+)?)\s*(ms|us|s|%)?\s*$")
_TIME_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of both runs. `difference` is b - a; the interval holds its true value 95 times in 100.

    `unit` is `ms`, `share`, or `count` (an answer). `clear` says that the interval leaves out 0.
    """

    metric: str
    unit: str
    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        return self.low > 0.0 or self.high < 0.0

    @property
    def relative(self) -> float | None:
        """The difference as a share of a."""
        return self.difference / self.a if self.a else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "clear": self.clear, "relative": self.relative}


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition, what was found, and whether it holds; what was not measured does not hold."""

    condition: Condition
    value: float | None

    @property
    def ok(self) -> bool:
        return self.condition.holds(self.value)

    def __str__(self) -> str:
        return f"{self.condition.text}: " + ("not measured" if self.value is None else f"{self.value:+.4g}")


def changes(a: Mapping[str, Any], b: Mapping[str, Any], *, seed: int = 0) -> list[Change]:
    """Compare two results (`PlayResult.as_json`): what both have measured."""
    rng = np.random.default_rng(seed)
    return [*latency_changes(a, b, rng), *share_changes(a, b), *dropped_changes(a, b)]


def latency_changes(a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator) -> list[Change]:
    """Compare percentiles of every kind of request, and of the answers' stages."""
    ours, theirs = a.get("histograms") or {}, b.get("histograms") or {}
    found = []
    for name in ours:
        prefix = _KINDS.get(name) if name in _KINDS else f"{name}_" if name.startswith("stage_") else None
        if prefix is None or not (theirs.get(name) or {}).get("counts") or not ours[name]["counts"]:
            continue
        first, second = (_drawn(one[name], rng) for one in (ours, theirs))  # (DRAWS + 1, percents) each
        for place, percent in enumerate(PERCENTS):
            low, high = np.percentile(second[1:, place] - first[1:, place], (2.5, 97.5))
            was, now = float(first[0, place]), float(second[0, place])
            found.append(Change(f"{prefix}p{percent:g}", "ms", was, now, now - was, float(low), float(high)))
    return found


def _drawn(histogram: Mapping[str, Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the percentiles of a histogram, (DRAWS + 1, percents): first as it is, then as resampled."""
    values = np.asarray(histogram["ms"], dtype=np.float64)  # (buckets,)
    counts = np.asarray(histogram["counts"], dtype=np.int64)
    whole = int(counts.sum())
    drawn = np.vstack([counts, rng.multinomial(whole, counts / whole, size=DRAWS)])  # (DRAWS + 1, buckets)
    reached = np.cumsum(drawn, axis=1)
    columns = []
    for percent in PERCENTS:
        rank = max(1, int(np.ceil(percent / 100.0 * whole)))
        columns.append(values[np.argmax(reached >= rank, axis=1)])
    return np.stack(columns, axis=1)


def share_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Compare shares: errors of all requests, degraded answers, and the hit rate of the next click."""
    found = []
    for name, counted in (("errors", _errors), ("degraded", _degraded), ("hit_rate", _hits)):
        ours, theirs = counted(a), counted(b)
        if ours is not None and theirs is not None and ours[1] and theirs[1]:
            found.append(share_change(name, ours, theirs))
    return found


def share_change(name: str, a: tuple[int, int], b: tuple[int, int]) -> Change:
    """Compare two shares, each (how many, of how many), by Newcombe's interval for their difference."""
    first, second = a[0] / a[1], b[0] / b[1]
    (low_a, high_a), (low_b, high_b) = wilson_interval(*a), wilson_interval(*b)
    difference = second - first
    low = difference - sqrt((second - low_b) ** 2 + (high_a - first) ** 2)
    high = difference + sqrt((high_b - second) ** 2 + (first - low_a) ** 2)
    return Change(name, "share", first, second, difference, low, high)


def dropped_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Compare how many candidates of an answer each rule dropped, by the normal interval of two means."""
    ours, theirs = ((one.get("answers") or {}).get("dropped") for one in (a, b))
    if not ours or not theirs:
        return []
    found = []
    for rule in {**ours["rules"], **theirs["rules"]}:
        (first, spread_a), (second, spread_b) = (_mean_dropped(one, rule) for one in (ours, theirs))
        half = _Z * sqrt(spread_a + spread_b)
        change = second - first
        found.append(Change(f"dropped_{rule}", "count", first, second, change, change - half, change + half))
    return found


def _mean_dropped(dropped: Mapping[str, Any], rule: str) -> tuple[float, float]:
    """Return the mean an answer, and the variance of that mean."""
    counted, answers = dropped["rules"].get(rule), dropped["answers"]
    if counted is None:
        return 0.0, 0.0
    mean = counted["candidates"] / answers
    return mean, max(0.0, counted["squares"] / answers - mean * mean) / answers


def _errors(result: Mapping[str, Any]) -> tuple[int, int] | None:
    answers = result.get("answers") or {}
    failed = sum((result.get("failed") or {}).values()) + sum((answers.get("errors") or {}).values())
    whole = result.get("scheduled", result["accepted"]) + answers.get("questions", 0)
    return failed, whole


def _degraded(result: Mapping[str, Any]) -> tuple[int, int] | None:
    answers, series = result.get("answers"), result.get("series") or {}
    if not answers or "answers_degraded" not in series:
        return None
    return sum(series["answers_degraded"]), answers["questions"]


def _hits(result: Mapping[str, Any]) -> tuple[int, int] | None:
    answers = result.get("answers")
    if not answers or "hits" not in answers:
        return None
    return answers["hits"], answers.get("followed", answers["questions"])


def parse_conditions(text: str) -> list[Condition]:
    """Read conditions with commas between: `p99<+10%, events_p50<2ms, hit_rate>-0.01, overlap@20>=0.8`.

    A time is compared by its difference, in % of a or in a unit of time; a share by its difference (% is points);
    what compares lists (overlap@k, same_first, same_list) by itself. `.low` or `.high` behind a metric is that end of
    its 95% interval. Raises SettingsError that shows the part.
    """
    return [_condition(part) for part in text.split(",") if part.strip()]


def _condition(text: str) -> Condition:
    found = _CONDITION.match(text)
    if found is None:
        raise SettingsError(
            f"expected a condition such as p99<+10%, hit_rate.low>-0.01 or overlap@20>=0.8, got {text!r}"
        )
    metric, end, compare, number, unit = found.groups()
    if _is_time(metric) and unit is None:
        raise SettingsError(f"{text.strip()}: expected a change in %, ms, us or s, got {number}")
    if not _is_time(metric) and unit not in (None, "%"):
        raise SettingsError(f"{text.strip()}: expected a share such as 0.01 or 1%, got {number}{unit}")
    if metric.startswith("dropped_") and unit is not None:
        raise SettingsError(f"{text.strip()}: expected candidates an answer such as 2.5, got {number}{unit}")
    limit = float(number) * (0.01 if unit == "%" else _TIME_UNITS.get(unit or "", 1.0))
    named = (metric, end or "", "relative" if unit == "%" and _is_time(metric) else "")
    return Condition(text.strip(), ":".join(filter(None, named)), compare, limit)


def _is_time(metric: str) -> bool:
    return re.search(r"(?:^|_)p\d+(?:\.\d+)?$", metric) is not None


def check(
    conditions: Sequence[Condition], found: Sequence[Change], lists: Mapping[str, float] | None = None
) -> list[Checked]:
    """Check conditions on differences, and on the comparison of lists where there is one (`metric`, `metric:low`)."""
    values: dict[str, float | None] = dict(lists or {})
    for change in found:
        ends = {"": change.difference, ":low": change.low, ":high": change.high}
        for end, value in ends.items():
            values[change.metric + end] = value
            values[f"{change.metric}{end}:relative"] = value / change.a if change.a else None
    return [Checked(condition, values.get(condition.metric)) for condition in conditions]
