"""How long an experiment takes: units and days for a lift, and the lift that so many days can find. Pure.

The fixed horizon is tea-tasting's (`horizon`). Looking every day costs units: at n units, planned for, an effect is
found when it is `width_in_errors(n, n)` standard errors large instead of 1.96. That counts the last look alone, and an
experiment may stop at any earlier one, so the power is at least what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from scipy.stats import norm

from experiments.effects import VALUE, Columns
from experiments.horizon import units_needed
from experiments.moments import Moments
from experiments.sequences import width_in_errors


@dataclass(frozen=True, slots=True)
class Need:
    """Units of control and treatment together, and days until they came; `daily` for those who look every day."""

    lift: float
    fixed_units: int
    fixed_days: int
    daily_units: int
    daily_days: int


def need(
    before: Moments,
    lift: float,
    units_a_day: float,
    columns: Columns = VALUE,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
) -> Need:
    """Return what finding a lift takes with so many units a day in both variants together."""
    fixed = units_needed(before, lift, columns, alpha=alpha, power=power, ratio=ratio)
    daily = fixed * looking_costs(alpha, power)
    return Need(lift, ceil(fixed), ceil(fixed / units_a_day), ceil(daily), ceil(daily / units_a_day))


def looking_costs(alpha: float = 0.05, power: float = 0.8) -> float:
    """Return how many times the units of a fixed horizon an always-valid interval needs, at most."""
    wanted = float(norm.ppf(power))
    return float(((float(width_in_errors(1.0, 1.0, alpha)) + wanted) / (norm.isf(alpha / 2.0) + wanted)) ** 2)


def lift_found(known: Need, units: float, *, daily: bool) -> float:
    """Return the lift that so many units find, from one that is known: lifts go with the root of the units."""
    return known.lift * sqrt((known.daily_units if daily else known.fixed_units) / units)
