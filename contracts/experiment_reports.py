"""What the judge says of an experiment, and gateways hand on: JSON in Redis. What is no number is null."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.formats import expect_mark, marked

Verdict = Literal["ship", "stop", "keep", "wait", "go_on", "ratio", "nothing"]
Kind = TypeVar("Kind", bound="ShortReport")
Pair = Annotated[list[float | None], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class MetricComparison(_Part):
    """A metric of a treatment against the control: pairs are control and treatment, or the ends of an interval that
    is always valid. `early` says why there is no interval yet, and is empty once there is one.
    """

    metric: str
    treatment: str
    units: Annotated[list[int], Field(min_length=2, max_length=2)]
    figures: Pair
    difference: float | None
    ends: Pair
    lift: float | None
    lift_ends: Pair
    p: float | None
    corrected: float | None = Field(description="`p` for as many metrics and treatments as are looked at beside it.")
    early: str
    guardrail: bool


class Ratio(_Part):
    """Do the units hold the shares that were set? `p` is always valid; null where shares were changed on the way."""

    p: float | None
    counts: dict[str, int]
    shares: dict[str, float]


class Look(_Part):
    """The primary metric of one treatment, at one look."""

    at_ms: int
    units: int
    treatment: str
    figures: Pair
    lift: float | None
    lift_ends: Pair


class ShortReport(_Part):
    """What the list of experiments shows of a report."""

    at_ms: int
    experiment_version: int = Field(description="The version that it was made of.")
    started_ms: int
    verdict: Verdict
    decision: str = Field(description="What the figures support, in one sentence.")


class ExperimentReport(ShortReport):
    """The newest report of an experiment."""

    held: str | None = Field(description="Why the judge does not do what the decision says; null where it would.")
    lag_s: float | None = Field(
        description="What was logged so many seconds before is not in it yet: 0, all is; null: that is not known."
    )
    units: dict[str, int]
    left_out: dict[str, int] = Field(description="Units that are not counted: switched, held_out, testers, others.")
    currency: str | None
    metric: str
    sample_ratio: Ratio | None
    comparisons: list[MetricComparison]
    figures: dict[str, dict[str, float]] = Field(description="Sums over the units of each variant.")
    segments: dict[str, dict[str, list[MetricComparison]]]
    history: list[Look] = Field(description="Earlier looks, the oldest first; thinned out to 200 at most.")

    @property
    def short(self) -> ShortReport:
        return ShortReport(**{name: getattr(self, name) for name in ShortReport.model_fields})


def number(value: float) -> float | None:
    """Return a number as JSON holds it: None for one that is none, or endless."""
    return float(value) if isfinite(value) else None


def encode_report(report: ShortReport) -> bytes:
    return orjson.dumps(marked("experiment_report", report.model_dump(mode="json")))


def decode_report(raw: bytes) -> ExperimentReport:
    """Return a report. Raises ValueError for what is none."""
    return _decoded(raw, ExperimentReport)


def decode_short(raw: bytes) -> ShortReport:
    """Return a report's short form. Raises ValueError for what is none."""
    return _decoded(raw, ShortReport)


def _decoded(raw: bytes, kind: type[Kind]) -> Kind:
    try:
        document = orjson.loads(raw)
        expect_mark("experiment_report", document)
        return kind.model_validate(document)
    except (orjson.JSONDecodeError, ValidationError, RecursionError) as error:
        raise ValueError(f"expected a report, got {raw[:60]!r}: {error}") from error
