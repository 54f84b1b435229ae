"""The report of an experiment: every treatment against the control, by metric. Pure: arrays in, records out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from experiments.asked import Asked, Metric
from experiments.capped import cap_of, winsorised
from experiments.effects import Columns, effect
from experiments.horizon import fixed_test
from experiments.moments import Floats, Moments
from experiments.posterior import Posterior, posterior
from experiments.sample_ratio import SampleRatio, sample_ratio
from experiments.sequences import FIRST_APART, FIRST_LOOK, interval, p_value, width_in_errors
from experiments.several import CORRECTIONS
from experiments.tables import Table

MOST_SEGMENTS: Final = 100
_LEAST_BELOW: Final = 1e-9
"""Of a denominator, a unit on average: what is smaller is none."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of a treatment against the control. Differences are in the metric's own unit, lifts relative.

    `early` says why the interval does not hold yet, and is empty once it does; until then `p` is NaN. `corrected` is
    the p-value for as many metrics and treatments as are looked at beside it. `explained` is the share of the variance
    that the past took off.
    """

    metric: Metric
    treatment: str
    units: tuple[int, int]
    figures: tuple[float, float]
    difference: float
    ends: tuple[float, float]
    lift: float
    lift_ends: tuple[float, float]
    p: float
    corrected: float
    explained: float
    cap: float
    early: str
    belief: Posterior | None

    @property
    def side(self) -> int:
        """1: better, -1: worse, by the interval; 0: not known."""
        if self.early or not (self.ends[0] > 0.0 or self.ends[1] < 0.0):
            return 0
        return (1 if self.ends[0] > 0.0 else -1) * (-1 if self.metric.lower_is_better else 1)


@dataclass(frozen=True, slots=True)
class Report:
    """`comparisons` go metric by metric in the order asked; `filled` counts units without a past, by metric."""

    asked: Asked
    control: str
    variants: tuple[str, ...]
    ratio: SampleRatio
    comparisons: tuple[Comparison, ...]
    filled: dict[str, int]

    @property
    def units(self) -> int:
        return sum(self.ratio.counts)

    def of_metric(self, name: str) -> list[Comparison]:
        return [one for one in self.comparisons if one.metric.name == name]


def report(table: Table, variant: str, asked: Asked) -> Report:
    """Compare the variants of a table of units. Raises ImportFormatError: one variant alone, a control or shares that
    are not those of the table, a metric without a value, a variant of fewer than two units.
    """
    words = table.texts[variant]
    names, control = _variants(words.names, asked)
    members = [words.codes == words.names.index(name) for name in names]
    counts = [int(one.sum()) for one in members]
    if min(counts) < 2:
        raise ImportFormatError(f"expected two units of each variant at least, got {min(counts)}")
    shares = [1.0] * len(names) if asked.shares is None else [asked.shares[name] for name in names]
    found, filled = list[Comparison](), dict[str, int]()
    for metric in asked.metrics:
        columns, cap, filled[metric.name] = _columns(table, metric)
        for at in range(1, len(names)):
            planned = asked.planned * (shares[0] + shares[at]) / sum(shares)
            both = columns[members[0]], columns[members[at]]
            found.append(replace(_compared(metric, *both, planned, asked), treatment=names[at], cap=cap))
    return Report(asked, control, names, sample_ratio(counts, shares), tuple(_corrected(found, asked)), filled)


def by_segment(table: Table, variant: str, segment: str, asked: Asked) -> dict[str, Report]:
    """Return the report of the primary metric in the 100 largest segments that every variant has two units in.

    p-values are corrected for the number of segments and treatments. Guardrails are not asked.
    """
    words, alone = table.texts[segment], replace(asked, metrics=asked.metrics[:1], guardrails=frozenset())
    sizes, parts = np.bincount(words.codes), dict[str, Report]()
    for at in np.argsort(-sizes, kind="stable")[:MOST_SEGMENTS].tolist():
        part = _rows(table, words.codes == at)
        counts = np.bincount(part.texts[variant].codes, minlength=len(part.texts[variant].names))
        if counts.min() >= 2:
            parts[words.names[at]] = report(part, variant, alone)
    together = [one for part in parts.values() for one in part.comparisons]
    corrected = iter(CORRECTIONS[asked.correction]([one.p for one in together]).tolist())
    return {
        name: replace(part, comparisons=tuple(replace(one, corrected=next(corrected)) for one in part.comparisons))
        for name, part in parts.items()
    }


def _rows(table: Table, kept: NDArray[np.bool_]) -> Table:
    numbers = {name: values[kept] for name, values in table.numbers.items()}
    texts = {name: replace(words, codes=words.codes[kept]) for name, words in table.texts.items()}
    return Table(int(kept.sum()), numbers, texts)


def _variants(there: Sequence[str], asked: Asked) -> tuple[tuple[str, ...], str]:
    shown = ", ".join(sorted(there)[:20])
    if len(there) < 2 or len(there) > 20:
        raise ImportFormatError(f"expected 2 to 20 variants, got {len(there)}: {shown}")
    usual = next((name for name in ("control", "A", "a", "0") if name in there), "")
    control = asked.control or usual
    if control not in there:
        raise ImportFormatError(f"expected the control among the variants {shown}, got {control!r}: --control says it")
    if asked.shares is not None and set(asked.shares) != set(there):
        raise ImportFormatError(f"expected a share of each variant {shown}, got those of {', '.join(asked.shares)}")
    return (control, *sorted(name for name in there if name != control)), control


def _columns(table: Table, metric: Metric) -> tuple[Floats, float, int]:
    """Return the metric's columns (n, k), the cap of its values, and how many units have no past."""
    columns = [table.numbers[name] for name in metric.columns]
    for name, values in zip(metric.columns, columns, strict=True):
        empty = int(np.isnan(values).sum())
        if empty and name not in (metric.covariate, metric.covariate_denominator):
            raise ImportFormatError(f"expected a number in every row of {name!r}, got {empty} empty: write 0 for none")
    empty = int(np.isnan(table.numbers[metric.covariate]).sum()) if metric.covariate else 0
    cap = cap_of(columns[0], metric.cap_share) if metric.cap_share < 1.0 else float("inf")
    columns[0] = winsorised(columns[0], cap)
    return np.stack([_filled(one) for one in columns], axis=1), cap, empty


def columns_of(table: Table, metric: Metric) -> tuple[Moments, Columns]:
    """Return the moments of all units of a table, and which column is what. Raises as `report` does."""
    columns, _, _ = _columns(table, metric)
    return Moments.of(columns), _places(metric)


def _filled(values: Floats) -> Floats:
    """Return the values with the mean for those that are not there: it says nothing for or against a variant."""
    there = ~np.isnan(values)
    return values if there.all() else np.where(there, values, values[there].mean() if there.any() else 0.0)


def _places(metric: Metric) -> Columns:
    places = {name: at for at, name in reversed(list(enumerate(metric.columns)))}
    return Columns(
        0, places.get(metric.denominator), places.get(metric.covariate), places.get(metric.covariate_denominator)
    )


def _compared(metric: Metric, control: Floats, treatment: Floats, planned: float, asked: Asked) -> Comparison:
    moments, places = (Moments.of(control), Moments.of(treatment)), _places(metric)
    for name, at in (
        (metric.denominator, places.denominator),
        (metric.covariate_denominator, places.covariate_denominator),
    ):
        if at is not None and min(float(one.mean[at]) for one in moments) <= _LEAST_BELOW:
            raise ImportFormatError(
                f"expected a sum above 0 of {name!r} in each variant: {metric.name} is divided by it"
            )
    found = effect(*moments, places)
    errors = width_in_errors(found.units, planned, asked.alpha)
    low, high = interval(found.difference, found.variance, found.units, planned, asked.alpha)
    lift_low, lift_high = found.lift_interval(errors)
    early = _early(control[:, 0], treatment[:, 0])
    p = np.nan if early else p_value(found.difference, found.variance, found.units, planned, asked.alpha)
    line = Comparison(
        metric=metric,
        treatment="",
        units=(len(control), len(treatment)),
        figures=(float(found.control), float(found.treatment)),
        difference=float(found.difference),
        ends=(float(low), float(high)),
        lift=float(found.lift),
        lift_ends=(float(lift_low), float(lift_high)),
        p=float(p),
        corrected=float(p),
        explained=float(found.explained),
        cap=float("inf"),
        early=early,
        belief=_belief(control[:, 0], treatment[:, 0]) if early and not metric.denominator else None,
    )
    if not asked.fixed or early:
        return line
    test = fixed_test(*moments, places, alpha=asked.alpha)
    return replace(line, ends=(test.low, test.high), lift_ends=(test.lift_low, test.lift_high), p=test.p)


def _early(*sides: Floats) -> str:
    units = min(len(values) for values in sides)
    apart = min(len(values) - int(np.unique(values, return_counts=True)[1].max()) for values in sides)
    if units < FIRST_LOOK:
        return f"{units} units, needs {FIRST_LOOK}"
    return f"{apart} with another value than most, needs {FIRST_APART}" if apart < FIRST_APART else ""


def _belief(control: Floats, treatment: Floats) -> Posterior | None:
    """Return what is believed of a share; None for values that are not 0 or 1."""
    sides = (control, treatment)
    if not all(np.isin(values, (0.0, 1.0)).all() for values in sides):
        return None
    old, new = ((int(values.sum()), len(values)) for values in sides)
    return posterior(old, new)


def _corrected(found: Sequence[Comparison], asked: Asked) -> list[Comparison]:
    """Correct in two families: the primary metric over the treatments, and all other metrics over both.

    Guardrails stay as they are: what they warn of is not to be missed.
    """
    primary = asked.metrics[0].name
    families = [one.metric.name == primary for one in found]
    corrected = np.array([one.p for one in found])
    for family in (True, False):
        at = [i for i, one in enumerate(found) if families[i] is family and one.metric.name not in asked.guardrails]
        corrected[at] = CORRECTIONS[asked.correction](corrected[at])
    return [replace(one, corrected=float(p)) for one, p in zip(found, corrected, strict=True)]
