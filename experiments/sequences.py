"""Always-valid intervals: whoever looks every day, and stops when they like, is wrong as rarely as promised. Pure.

Asymptotic confidence sequences of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform central limit theory
and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2). Of n units with standard error s,

    s * sqrt((1 + 1/k) * (log(1 + k) - 2 log alpha)),   k = n * rho^2

either side. `rho` makes the interval shortest at the units that are planned (their section B.2). Turned round for the
alpha at which 0 leaves the interval, this is the p-value of the mixture sequential probability ratio test (Johari,
Koomen, Pekelis and Walsh 2022). Asymptotic: it needs a first look that is not too early (`FIRST_LOOK`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import lambertw

from experiments.moments import Floats

ALPHA: Final = 0.05
FIRST_LOOK: Final = 200
FIRST_APART: Final = 50
"""Units of each variant that an interval needs, and how many of them with another value than the most usual one: buyers
among visitors. docs/experiments.md has the coverage that this gives, and what less gives."""


def rho_squared(planned_units: ArrayLike, alpha: float = ALPHA) -> Floats:
    """Return the rho^2 whose interval is the shortest at so many units. Raises ValueError for none, or a bad alpha."""
    planned = np.asarray(planned_units, dtype=np.float64)
    if not (planned > 0).all():
        raise ValueError(f"expected a planned number of units above 0, got {planned.min()}")
    _expect_alpha(alpha)
    return np.asarray((-lambertw(-(alpha**2) * np.exp(-1.0), -1).real - 1.0) / planned)


def width_in_errors(units: ArrayLike, planned_units: ArrayLike, alpha: float = ALPHA) -> Floats:
    """Return half the interval's width, in standard errors, after so many units."""
    k = np.asarray(units, dtype=np.float64) * rho_squared(planned_units, alpha)
    return np.asarray(np.sqrt((1.0 + 1.0 / k) * (np.log1p(k) - 2.0 * np.log(alpha))))


def interval(
    estimate: ArrayLike, variance: ArrayLike, units: ArrayLike, planned_units: ArrayLike, alpha: float = ALPHA
) -> tuple[Floats, Floats]:
    """Return the ends of the always-valid interval of an estimate with this variance (its standard error squared)."""
    centre = np.asarray(estimate, dtype=np.float64)
    half = np.sqrt(np.asarray(variance, dtype=np.float64)) * width_in_errors(units, planned_units, alpha)
    return centre - half, centre + half


def p_value(
    estimate: ArrayLike, variance: ArrayLike, units: ArrayLike, planned_units: ArrayLike, alpha: float = ALPHA
) -> Floats:
    """Return the always-valid p-value against "no effect": below `alpha` exactly where the interval leaves out 0.

    An estimate without any variance says 1: nothing is known of it. `alpha` is that of the interval, it sets `rho`.
    """
    k = np.asarray(units, dtype=np.float64) * rho_squared(planned_units, alpha)
    spread = np.asarray(variance, dtype=np.float64)
    squared = np.asarray(estimate, dtype=np.float64) ** 2 / np.where(spread > 0.0, spread, np.inf)
    return np.asarray(np.minimum(1.0, np.exp(0.5 * np.log1p(k) - squared * k / (2.0 * (1.0 + k)))))


def _expect_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")
