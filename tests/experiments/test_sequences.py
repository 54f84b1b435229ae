"""Always-valid intervals: the paper's formulas, and simulations of people who look every day."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.effects import Columns, Effect, effect
from experiments.moments import Moments
from experiments.planning import looking_costs
from experiments.sequences import FIRST_APART, FIRST_LOOK, interval, p_value, rho_squared, width_in_errors

DAYS = 28


def test_the_width_is_that_of_the_theorem() -> None:
    # theorem 2.2: s * sqrt(2 (t rho^2 + 1) / (t^2 rho^2) * log(sqrt(t rho^2 + 1) / alpha)), t = 400, rho^2 of t* = 1000
    t, rho2 = 400.0, float(rho_squared(1000.0))
    theorem = np.sqrt(2.0 * (t * rho2 + 1.0) / (t * t * rho2) * np.log(np.sqrt(t * rho2 + 1.0) / 0.05))
    assert width_in_errors(400, 1000) / np.sqrt(t) == pytest.approx(theorem)
    assert theorem == pytest.approx(0.155833, abs=1e-6)


def test_rho_is_the_best_for_the_planned_units() -> None:
    assert rho_squared(1.0) == pytest.approx(8.2120, abs=1e-4)
    widths = width_in_errors(1000.0, np.arange(500.0, 2000.0))
    assert widths.argmin() == 500  # 1,000 units planned
    assert widths.min() == pytest.approx(3.0351, abs=1e-4)


def test_the_p_value_is_that_of_the_mixture_ratio_test() -> None:
    # Johari et al. (2022): 1 / Lambda, Lambda = sqrt(v / (v + n tau^2)) exp(n^2 tau^2 x^2 / (2 v (v + n tau^2)))
    n, x, v = 400.0, 0.2, 1.7
    tau2 = v * float(rho_squared(1000.0))
    ratio = np.sqrt(v / (v + n * tau2)) * np.exp(n * n * tau2 * x * x / (2.0 * v * (v + n * tau2)))
    assert p_value(x, v / n, n, 1000) == pytest.approx(1.0 / ratio)


def test_the_p_value_is_below_alpha_where_the_interval_leaves_out_zero() -> None:
    for estimate in (0.301, 0.305):
        low, _ = interval(estimate, 0.01, 800, 1000)
        assert bool(low > 0.0) == bool(p_value(estimate, 0.01, 800, 1000) < 0.05)
    assert p_value(5.0, 0.0, 800, 1000) == 1.0


@pytest.mark.parametrize(("planned", "alpha"), [(0.0, 0.05), (100.0, 0.0), (100.0, 1.0)])
def test_what_cannot_be_planned_is_refused(planned: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        rho_squared(planned, alpha)


def sums_of_days(
    rng: np.random.Generator, experiments: int, units_a_day: int, rate: float, *, spends: bool
) -> tuple[Moments, NDArray[np.int64]]:
    """Return the moments after each day (experiments, days), and how many units bought until then."""
    shape = (experiments, DAYS)
    bought = rng.binomial(units_a_day, rate, shape)
    totals, squares = bought.astype(float), bought.astype(float)
    if spends:
        spent = rng.lognormal(3.0, 1.0, bought.sum())
        day = np.repeat(np.arange(experiments * DAYS), bought.ravel())
        totals, squares = (np.bincount(day, of, experiments * DAYS).reshape(shape) for of in (spent, spent * spent))
    units = np.full(shape, float(units_a_day)).cumsum(axis=1)
    return Moments.from_sums(units, totals.cumsum(axis=1), squares.cumsum(axis=1)), bought.cumsum(axis=1)


def looked_at(
    seed: int, units_a_day: tuple[int, int], rate: float, lift: float, *, spends: bool, experiments: int = 1000
) -> tuple[Effect, NDArray[np.bool_], int]:
    """Return effects (experiments, days), the looks that count, and the planned units."""
    rng = np.random.default_rng(seed)
    old, few = sums_of_days(rng, experiments, units_a_day[0], rate, spends=spends)
    new, fewer = sums_of_days(rng, experiments, units_a_day[1], rate * (1.0 + lift), spends=spends)
    looks = (np.minimum(old.count, new.count) >= FIRST_LOOK) & (np.minimum(few, fewer) >= FIRST_APART)
    return effect(old, new), looks, sum(units_a_day) * DAYS


@pytest.mark.parametrize("spends", [False, True], ids=["conversion", "revenue"])
def test_of_a_thousand_experiments_without_effect_few_are_ever_called_one(spends: bool) -> None:
    found, looks, planned = looked_at(1, (500, 500), 0.03, 0.0, spends=spends)
    low, high = interval(found.difference, found.variance, found.units, planned)
    called = ((low > 0.0) | (high < 0.0)) & looks
    assert looks.any(axis=1).all()
    assert called.any(axis=1).mean() <= 0.055
    usual = np.abs(found.difference) > 1.96 * np.sqrt(found.variance)
    assert usual.any(axis=1).mean() > 0.2  # what looking every day does to the usual interval


@pytest.mark.parametrize("spends", [False, True], ids=["conversion", "revenue"])
@pytest.mark.parametrize("units_a_day", [(500, 500), (3600, 400), (400, 3600)])
def test_intervals_hold_the_true_effect_on_every_day_together(units_a_day: tuple[int, int], spends: bool) -> None:
    found, looks, planned = looked_at(2, units_a_day, 0.03, 0.2, spends=spends)
    truth = 0.03 * 0.2 * (np.exp(3.5) if spends else 1.0)
    low, high = interval(found.difference, found.variance, found.units, planned)
    assert looks.any(axis=1).all()
    assert ((low <= truth) & (truth <= high) | ~looks).all(axis=1).mean() >= 0.94
    low, high = found.lift_interval(width_in_errors(found.units, planned))
    assert ((low <= 0.2) & (high >= 0.2) | ~looks).all(axis=1).mean() >= 0.94


def test_the_planned_units_find_the_effect_as_often_as_promised() -> None:
    assert looking_costs() == pytest.approx(1.9152, abs=1e-3)
    # 3% and a lift of 0.2, fixed horizon 27,800: planned for those who look daily, 53,300 units
    found, looks, planned = looked_at(3, (952, 952), 0.03, 0.2, spends=False)
    low, _ = interval(found.difference, found.variance, found.units, planned)
    assert 53_000 < planned < 53_500
    assert ((low > 0.0) & looks).any(axis=1).mean() >= 0.8


def day_of_ratios(rng: np.random.Generator, experiments: int, units: int) -> Moments:
    """Return one day's clicks, pages, clicks before and pages before, (experiments,) of four columns."""
    taste = rng.gamma(2.0, 1.0, (experiments, units))
    pages, before = rng.poisson(3.0 * taste) + 1, rng.poisson(6.0 * taste) + 1
    rate = np.minimum(0.9, 0.1 * taste)
    rows = np.stack([rng.binomial(pages, rate), pages, rng.binomial(before, rate), before], axis=2).astype(float)
    apart = rows - rows.mean(axis=1, keepdims=True)
    return Moments(np.full(experiments, float(units)), rows.mean(axis=1), np.einsum("eui,euj->eij", apart, apart))


def test_ratios_with_a_past_are_as_rarely_called_an_effect() -> None:
    rng, days, units = np.random.default_rng(4), 14, 100
    old, new = day_of_ratios(rng, 500, units), day_of_ratios(rng, 500, units)
    called, explained = np.zeros(500, np.bool_), 0.0
    for day in range(1, days):
        old, new = old + day_of_ratios(rng, 500, units), new + day_of_ratios(rng, 500, units)
        found = effect(old, new, Columns(0, 1, 2, 3))
        low, high = interval(found.difference, found.variance, found.units, 2 * units * days)
        called |= (low > 0.0) | (high < 0.0)
        explained = float(found.explained.mean())
        assert old.count[0] == units * (day + 1)
    assert called.mean() <= 0.055
    assert explained == pytest.approx(0.547, abs=0.01)
