"""An A/A certificate as tables."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from experiments.certificate import Balance, Certificate, Judged, Rate

MOST_DAYS = 10


def recorded_table(totals: Mapping[str, float], units: int, days: int, what: str) -> Table:
    """Return what a recording has of each metric."""
    table = Table("recorded", title=f"{units:,} {what}s of {days} days")
    for name in ("sum", f"a {what}"):
        table.add_column(name, justify="right")
    for name, total in totals.items():
        table.add_row(name, f"{total:,.0f}", f"{total / units:,.4g}")
    return table


def balance_table(found: Certificate) -> Table:
    """Return units by variant and day, of the experiment's own name."""
    balance, days = found.balance, found.balance.by_day.shape[1]
    shown = sorted({round(at * (days - 1) / (MOST_DAYS - 1)) for at in range(MOST_DAYS)}) if days > 1 else [0]
    title = f"Units until the end of each day, by the name {found.setup.name}"
    table = Table("variant", "share", title=title, min_width=len(title) + 2)
    for day in shown:
        table.add_column(f"day {day + 1}", justify="right")
    for (name, share), units in zip(found.setup.shares.items(), balance.by_day.tolist(), strict=True):
        table.add_row(name, f"{share:.1%}", *(f"{units[day]:,}" for day in shown))
    return table


def shares_said(balance: Balance) -> str:
    """Return how often the sample ratio breaks, and how its p-values are spread, in a line."""
    bars, most = "▁▂▃▄▅▆▇█", max(1, int(balance.histogram.max()))
    spark = "".join(bars[min(7, int(8 * one / (most + 1)))] for one in balance.histogram.tolist())
    return f"Sample ratio of all runs: p below .001 in {_rate(balance.broken)}; p from 0 to 1: {spark}"


def judged_table(found: Certificate) -> Table:
    """Return how often an effect was found where there is none."""
    title = f"{found.runs:,} experiments without effect ({found.layers:,} layers): an effect is found in"
    table = Table("metric", title=title)
    for name in ("mean", "largest unit", "looking daily", "one look at the end", "usual interval, looked at daily"):
        table.add_column(name, justify="right")
    for one in found.metrics:
        cap = f", capped at {one.cap:.4g}" if isfinite(one.cap) else ""
        rates = (_rate(one.daily), _rate(one.once), _rate(one.peeking))
        table.add_row(one.metric, f"{one.mean:.4g}", f"{one.largest:.2%}{cap}", *rates)
    return table


def power_table(one: Judged, days: int) -> Table:
    """Return how often planted lifts are found, and what finding them takes."""
    table = Table("lift", title=f"{one.metric}: a planted lift is found")
    for name in (
        f"in {days} days",
        "half of these by day",
        "80%, one look: units",
        "days",
        "80%, daily: units",
        "days",
    ):
        table.add_column(name, justify="right")
    for power in one.power:
        by, need = "-" if power.days is None else f"{power.days:g}", power.need
        takes = (
            ["-"] * 4
            if need is None
            else [f"{one:,}" for one in (need.fixed_units, need.fixed_days, need.daily_units, need.daily_days)]
        )
        table.add_row(f"{power.lift:+.1%}", _rate(power.found), by, *takes)
    return table


def _rate(rate: Rate) -> str:
    low, high = rate.ends
    return f"{rate.share:.1%} ({low:.1%} to {high:.1%})"
