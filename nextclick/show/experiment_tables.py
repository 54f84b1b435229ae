"""The report of an experiment, and what one takes, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isinf
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from experiments.planning import Need
    from experiments.report import Comparison, Report


def report_tables(found: Report) -> list[Table]:
    """Return the sample-ratio check and the comparisons."""
    return [_ratio_table(found), _comparison_table(found), *_belief_tables(found)]


def _ratio_table(found: Report) -> Table:
    p = found.ratio.p
    said = "too few units to tell" if p is None else f"p = {p:.3g}, stop below 0.001"
    title = f"Sample ratio: {'BROKEN, ' if found.ratio.is_broken else ''}{said}"
    table = Table("variant", title=title, min_width=len(title) + 2)
    for name in ("units", "expected"):
        table.add_column(name, justify="right")
    for name, count, expected in zip(found.variants, found.ratio.counts, found.ratio.expected, strict=True):
        table.add_row(f"{name} (control)" if name == found.control else name, f"{count:,}", f"{expected:,.0f}")
    return table


def _comparison_table(found: Report) -> Table:
    kind = (
        "fixed horizon, for one look" if found.asked.fixed else f"always valid, planned {found.asked.planned:,} units"
    )
    level = f"{1.0 - found.asked.alpha:.0%}"
    table = Table("metric", "variant", title=f"Against {found.control}: {level} intervals, {kind}")
    for name in ("control", "treatment", "change", f"{level} interval", "p", f"p, {found.asked.correction}"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for one in found.comparisons:
        ends = "not yet" if one.early else _interval(one)
        figures = (f"{value:.4g}" for value in one.figures)
        change = f"{one.lift:+.2%}" if isfinite(one.lift) else f"{one.difference:+.4g}"
        note = "; ".join(_notes(found, one))
        table.add_row(one.metric.name, one.treatment, *figures, change, ends, _p(one.p), _p(one.corrected), note)
    return table


def _belief_tables(found: Report) -> list[Table]:
    believed = [one for one in found.comparisons if one.belief is not None]
    if not believed:
        return []
    table = Table("metric", "variant", title="Few units: what is believed, from a uniform prior")
    for name in ("is better", "loss if shipped", "95% of the difference"):
        table.add_column(name, justify="right")
    for one in believed:
        if (belief := one.belief) is not None:
            ends = f"[{belief.low:+.4f}, {belief.high:+.4f}]"
            table.add_row(one.metric.name, one.treatment, f"{belief.better:.1%}", f"{belief.loss:.5f}", ends)
    return [table]


def _notes(found: Report, one: Comparison) -> list[str]:
    notes = [one.early] if one.early else []
    notes += ["guardrail"] if one.metric.name in found.asked.guardrails else []
    notes += [f"past explains {one.explained:.0%}"] if one.metric.covariate else []
    without = found.filled.get(one.metric.name, 0)
    notes += [f"{without:,} units without a past"] if without else []
    notes += [f"capped at {one.cap:.4g}"] if isfinite(one.cap) else []
    return notes


def _interval(one: Comparison) -> str:
    low, high = one.lift_ends
    if isinf(low) or isinf(high) or low != low:
        return f"{one.ends[0]:+.4g} to {one.ends[1]:+.4g}"
    return f"{low:+.2%} to {high:+.2%}"


def _p(value: float) -> str:
    return "-" if value != value else "under .0001" if value < 1e-4 else f"{value:.4f}"


def segment_table(segment: str, parts: Mapping[str, Report], most: int = 20) -> Table:
    """Return the primary metric by segment, the largest segments first."""
    table = Table(segment, "variant", title=f"By {segment}")
    for name in ("units", "change", "interval", "p corrected"):
        table.add_column(name, justify="right")
    for name, part in list(parts.items())[:most]:
        for one in part.comparisons:
            ends = f"not yet ({one.early})" if one.early else _interval(one)
            table.add_row(name, one.treatment, f"{sum(one.units):,}", f"{one.lift:+.2%}", ends, _p(one.corrected))
    if len(parts) > most:
        table.caption = f"and {len(parts) - most} smaller ones"
    return table


def need_table(needs: Sequence[Need], units_a_day: float, power: float) -> Table:
    """Return what finding each lift takes."""
    title = f"To find a lift with a power of {power:.0%}, at {units_a_day:,.0f} units a day in both variants"
    table = Table("lift", title=title)
    for name in ("units, one look", "days", "units, looking daily", "days"):
        table.add_column(name, justify="right")
    for one in needs:
        fixed, daily = (f"{one.fixed_units:,}", f"{one.fixed_days:,}"), (f"{one.daily_units:,}", f"{one.daily_days:,}")
        table.add_row(f"{one.lift:+.1%}", *fixed, *daily)
    return table


def found_table(lifts: Sequence[tuple[int, float, float]]) -> Table:
    """Return what so many days find: (days, lift of one look, lift looking daily)."""
    table = Table("days", title="The smallest lift that is found")
    for name in ("one look", "looking daily"):
        table.add_column(name, justify="right")
    for days, fixed, daily in lifts:
        table.add_row(f"{days}", f"{fixed:+.2%}", f"{daily:+.2%}")
    return table
