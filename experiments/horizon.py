"""Fixed-horizon tests and the units that they need: tea-tasting on our moments. Needs the `experiments` extra.

A fixed-horizon interval is narrower than an always-valid one (`sequences`), and holds for one look alone: the one that
was planned. Welch's t-test, the delta method and CUPED are tea-tasting's; `effects` has the same estimates for arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from scipy.stats import norm

from contracts.errors import SettingsError
from experiments.effects import VALUE, Columns, effect

if TYPE_CHECKING:
    from experiments.moments import Moments


@dataclass(frozen=True, slots=True)
class FixedTest:
    """Difference and lift as in `effects.Effect`, each with the ends of its interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float
    p: float


def expect_tea_tasting() -> None:
    """Raise SettingsError where the library is not installed."""
    if find_spec("tea_tasting") is None:
        raise SettingsError(
            "fixed-horizon tests and power need tea-tasting: install the `experiments` extra, or `make training`"
        )


def fixed_test(
    control: Moments,
    treatment: Moments,
    columns: Columns = VALUE,
    *,
    alpha: float = 0.05,
) -> FixedTest:
    """Return Welch's test of one look at two variants; moments of one experiment, without a leading shape."""
    found = _metric(columns, alpha=alpha).analyze_aggregates(_aggregates(control), _aggregates(treatment))
    return FixedTest(
        difference=float(found.effect_size),
        low=float(found.effect_size_ci_lower),
        high=float(found.effect_size_ci_upper),
        lift=float(found.rel_effect_size),
        lift_low=float(found.rel_effect_size_ci_lower),
        lift_high=float(found.rel_effect_size_ci_upper),
        p=float(found.pvalue),
    )


def units_needed(
    before: Moments,
    lift: float,
    columns: Columns = VALUE,
    *,
    alpha: float,
    power: float,
    ratio: float = 1.0,
) -> float:
    """Return how many units control and treatment need together to find this lift with this power.

    `before` are units without the treatment; `ratio` is the treatment's share over the control's. By the normal
    distribution where the noncentral t of many units cannot be computed (scipy says NaN of it).
    """
    metric = _metric(columns, alpha=alpha, power=power, ratio=ratio, rel_effect_size=lift)
    try:
        [found] = metric.solve_power_from_aggregates(_aggregates(before), "n_obs")
    except ValueError:
        return _normal_units(before, lift, columns, alpha=alpha, power=power, ratio=ratio)
    return float(found.n_obs)


def _normal_units(before: Moments, lift: float, columns: Columns, *, alpha: float, power: float, ratio: float) -> float:
    alone = effect(before, before, columns)
    variance = float(alone.control_variance * before.count) * (1.0 + ratio) ** 2 / ratio
    return variance * (float(norm.isf(alpha / 2.0) + norm.ppf(power)) / (lift * float(alone.control))) ** 2


def _metric(columns: Columns, *, alpha: float, **options: Any) -> Any:
    expect_tea_tasting()
    from tea_tasting import RatioOfMeans

    names = (columns.value, columns.denominator, columns.covariate, columns.covariate_denominator)
    given = [None if name is None else str(name) for name in names]
    return RatioOfMeans(*given, confidence_level=1.0 - alpha, alpha=alpha, alternative="two-sided", **options)


def _aggregates(one: Moments) -> Any:
    from tea_tasting.aggr import Aggregates

    covariance, columns = one.covariance, range(one.mean.shape[-1])
    return Aggregates(
        int(one.count),
        {str(i): float(one.mean[i]) for i in columns},
        {str(i): float(covariance[i, i]) for i in columns},
        {(str(i), str(j)): float(covariance[i, j]) for i in columns for j in columns if i < j},
    )
