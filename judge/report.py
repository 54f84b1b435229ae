"""The report of one look at an experiment: from its units to what gateways show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from attribution.participants import Participants
from contracts.errors import ImportFormatError
from contracts.experiment_reports import ExperimentReport, Look, MetricComparison, Ratio, number
from contracts.experiments import ExperimentVersion, expected_metric
from experiments.asked import PLANNED, Asked, Metric
from experiments.decision import Verdict, ratio_broken, verdict
from experiments.report import Comparison, by_segment, report
from experiments.sample_ratio import SampleRatio, always_valid_ratio
from experiments.sequences import FIRST_LOOK
from experiments.tables import Table
from judge.history import thinned
from judge.units import SEGMENTS, VARIANT, counted, sums, table_of, units


class Seen(NamedTuple):
    """What a look starts from. `shares`: what each variant's units should hold, None where there are none to hold;
    `before`: the report of the last look, for its history.
    """

    version: ExperimentVersion
    found: Participants
    shares: Sequence[float] | None
    before: ExperimentReport | None
    at_ms: int
    lag_s: float | None


def judged(seen: Seen) -> tuple[ExperimentReport, Verdict]:
    """Return the report of a look, and its verdict."""
    version, experiment = seen.version, seen.version.experiment
    variants = [variant.name for variant in experiment.variants]
    rows, left_out = counted(seen.found, version)
    table = table_of(rows, variants)
    counts = units(table, variants)
    ratio = None if seen.shares is None else always_valid_ratio(counts, seen.shares)
    asked = _asked(seen)
    found: Sequence[Comparison] = []
    if isinstance(asked, str):
        decided = Verdict("nothing", "", f"Nothing is shown: {asked}.")
    else:
        found, decided = _compared(table, asked, variants, counts, ratio)
    if ratio is not None and ratio.is_broken:
        decided = ratio_broken(ratio)
    guardrails = frozenset(experiment.guardrails)
    made = ExperimentReport(
        at_ms=seen.at_ms,
        experiment_version=version.version,
        started_ms=version.started_ms,
        verdict=decided.kind,
        decision=decided.sentence,
        held=None,
        lag_s=seen.lag_s,
        units=dict(zip(variants, counts, strict=True)),
        left_out=left_out,
        currency=next(iter(seen.found.currencies), None),
        metric=experiment.metric,
        sample_ratio=None if seen.shares is None else _ratio(ratio, variants, counts, seen.shares),
        comparisons=[_told(one, guardrails) for one in found],
        figures=sums(table, variants),
        segments={} if isinstance(asked, str) or not found else _segments(table, asked),
        history=_history(seen, found, sum(counts)),
    )
    return made, decided


def _asked(seen: Seen) -> Asked | str:
    """Return what is asked of the units, or why nothing can be."""
    experiment = seen.version.experiment
    if experiment.interleaves:
        return "its pages are mixed; `nextclick experiment units`, then `experiment report`, say which is preferred"
    names = dict.fromkeys((experiment.metric, *experiment.guardrails))
    wrong = next((said for name in names if (said := expected_metric(name)) is not None), None)
    if wrong is not None:
        return wrong
    metrics = tuple(
        Metric.of(name, lower_is_better=experiment.lower_is_better and name == experiment.metric) for name in names
    )
    return Asked(
        metrics=metrics,
        guardrails=frozenset(experiment.guardrails) - {experiment.metric},
        control=experiment.variants[0].name,
        shares={variant.name: variant.share for variant in experiment.variants},
        planned=experiment.planned_units or PLANNED,
    )


def _compared(
    table: Table, asked: Asked, variants: Sequence[str], counts: Sequence[int], ratio: SampleRatio | None
) -> tuple[Sequence[Comparison], Verdict]:
    fewest = min(counts)
    if fewest < 2:
        name = variants[counts.index(fewest)]
        return [], Verdict("wait", "", f"Wait: {name} has too few units ({fewest} units, needs {FIRST_LOOK}).")
    try:
        found = report(table, VARIANT, asked)
    except ImportFormatError as error:
        return [], Verdict("wait", "", f"Wait: {error}.")
    known = found.ratio if ratio is None else ratio  # in the order of the report, control first
    found = replace(found, ratio=replace(known, p=None if ratio is None else ratio.p))
    return found.comparisons, verdict(found)


def _segments(table: Table, asked: Asked) -> dict[str, dict[str, list[MetricComparison]]]:
    """Return the primary metric by each column of segments; nothing where one segment cannot be compared."""
    shown: dict[str, dict[str, list[MetricComparison]]] = {}
    for column in SEGMENTS:
        try:
            parts = by_segment(table, VARIANT, column, asked)
        except ImportFormatError:
            continue
        shown[column] = {name: [_told(one, frozenset()) for one in part.comparisons] for name, part in parts.items()}
    return shown


def _history(seen: Seen, found: Sequence[Comparison], count: int) -> list[Look]:
    before, metric = seen.before, seen.version.experiment.metric
    same = before is not None and (before.started_ms, before.metric) == (seen.version.started_ms, metric)
    looks = list(before.history) if before is not None and same else []
    for one in found:
        if one.metric.name == metric:
            figures, ends = _pair(one.figures), _pair(one.lift_ends)
            looks.append(
                Look(
                    at_ms=seen.at_ms,
                    units=count,
                    treatment=one.treatment,
                    figures=figures,
                    lift=number(one.lift),
                    lift_ends=[None, None] if one.early else ends,
                )
            )
    return thinned(looks)


def _told(one: Comparison, guardrails: frozenset[str]) -> MetricComparison:
    return MetricComparison(
        metric=one.metric.name,
        treatment=one.treatment,
        units=list(one.units),
        figures=_pair(one.figures),
        difference=number(one.difference),
        ends=_pair(one.ends),
        lift=number(one.lift),
        lift_ends=_pair(one.lift_ends),
        p=number(one.p),
        corrected=number(one.corrected),
        early=one.early,
        guardrail=one.metric.name in guardrails,
    )


def _ratio(ratio: SampleRatio | None, variants: Sequence[str], counts: Sequence[int], shares: Sequence[float]) -> Ratio:
    total = sum(shares)
    return Ratio(
        p=None if ratio is None else ratio.p,
        counts=dict(zip(variants, counts, strict=True)),
        shares={name: share / total for name, share in zip(variants, shares, strict=True)},
    )


def _pair(ends: tuple[float, float]) -> list[float | None]:
    return [number(end) for end in ends]
