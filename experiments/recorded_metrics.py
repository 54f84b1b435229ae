"""Metrics of recorded units, day by day: from what was counted to what a certificate judges. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from contracts.errors import SettingsError
from experiments.asked import Metric, pairs_of
from experiments.capped import cap_of
from experiments.recorded_units import Column, Recorded
from experiments.unit_days import DAY_MS, Amounts, Ints, UnitDays, unit_days

USUAL: Final = ("clicks/pages", "views", "carts", "orders", "revenue")
"""Metrics that are judged where none is named, as far as the recording has them; `views` where it has no pages."""


MOST_OF: Final = 0.999
"""Of what was counted: a few clocks that run ahead make no recording longer."""

_NEVER: Final = 1 << 40


def days_of(found: Recorded) -> int:
    """Return after how many days most of a recording was over. Days begin with its first event."""
    last = np.quantile(found.ts, MOST_OF, method="lower")
    return int((last - found.ts.min()) // DAY_MS) + 1


def metrics_in(totals: Mapping[str, float], wanted: Sequence[str] = ()) -> list[str]:
    """Return those of the metrics that a recording has; of none wanted, or none that it has, the usual ones."""
    usual = [name for name in USUAL if name != "views" or "pages" not in totals]
    for names in (wanted, usual):
        there = [name for name in names if all(totals.get(part) for part in name.split("/"))]
        if there:
            return there
    raise SettingsError(f"expected a metric that the recording has, got none of {', '.join(totals)}")


def named(names: Sequence[str], caps: Sequence[str], totals: Mapping[str, float]) -> list[Metric]:
    """Return metrics with their caps. Raises SettingsError: one that the recording lacks, a cap that is none."""
    shares = pairs_of(caps, "--cap")
    stray = next((name for name in shares if name not in names), None)
    if stray is not None:
        raise SettingsError(f"expected caps of the metrics {', '.join(names)}, got one of {stray!r}: add --metric")
    found = []
    for name in dict.fromkeys(names):
        try:
            metric = Metric.of(name, cap_share=float(shares.get(name, "1")))
        except ValueError:
            raise SettingsError(f"--cap: expected a number behind `=`, got {shares[name]!r}") from None
        missing = next((part for part in metric.columns if not totals.get(part)), None)
        if missing is not None:
            there = ", ".join(one for one, total in totals.items() if total)
            raise SettingsError(f"{name}: expected what the recording has, {there}; got {missing!r}")
        found.append(metric)
    return found


def counted(found: Recorded, metrics: Sequence[Metric], days: int) -> dict[str, UnitDays]:
    """Return each metric of all units by day. A cap is that of the whole recording."""
    day = (found.ts - found.ts.min()) // DAY_MS
    first = np.full(len(found.units), _NEVER)
    np.minimum.at(first, found.unit, day)
    return {one.name: _counted(found, one, first, day, days) for one in metrics}


def _counted(found: Recorded, metric: Metric, first: Ints, day: Ints, days: int) -> UnitDays:
    value = _amounts(found, metric.value, day)
    below = _amounts(found, metric.denominator, day) if metric.denominator else None
    if metric.cap_share >= 1.0:
        return unit_days(first, value, below, days)
    sums = np.bincount(value.unit, value.amount * (value.day < days), len(found.units))
    return unit_days(first, value, below, days, cap=cap_of(sums, metric.cap_share))


def _amounts(found: Recorded, column: str, day: Ints) -> Amounts:
    kept = found.column == Column[column]
    return Amounts(found.unit[kept], day[kept], found.amount[kept])
