"""Differences, ratios by the delta method, and what the past explains; held to tea-tasting, which others wrote."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.effects import VALUE, Columns, effect
from experiments.moments import Moments


def test_a_difference_of_means_has_the_variances_of_both() -> None:
    found = effect(Moments.of([1.0, 2.0, 3.0]), Moments.of([2.0, 4.0, 6.0]))
    assert (found.control, found.treatment, found.difference, found.lift) == (2.0, 4.0, 2.0, 1.0)
    assert found.variance == pytest.approx(1.0 / 3.0 + 4.0 / 3.0)


def test_a_ratio_has_the_variance_of_the_delta_method() -> None:
    units = Moments.of([[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]])  # clicks, pages
    found = effect(units, units, Columns(0, 1))
    # by hand: ratio 6 / 12; residuals clicks - ratio * pages are 0, 1, -1; their variance 1, over (4^2 * 3 units)
    assert found.control == pytest.approx(0.5)
    assert found.control_variance == pytest.approx(1.0 / 48.0)


def test_a_past_that_says_all_leaves_no_variance() -> None:
    before = np.array([1.0, 2.0, 3.0, 4.0])
    old, new = np.stack([before, before], axis=1), np.stack([before + 1.0, before], axis=1)
    found = effect(Moments.of(old), Moments.of(old), Columns(0, covariate=1))
    assert found.variance == pytest.approx(0.0)
    assert found.explained == pytest.approx(1.0)
    assert effect(Moments.of(old), Moments.of(new), Columns(0, covariate=1)).difference == pytest.approx(1.0)


def test_a_past_that_is_the_same_for_all_changes_nothing() -> None:
    rows = np.array([[1.0, 5.0], [4.0, 5.0], [2.0, 5.0]])
    assert effect(Moments.of(rows), Moments.of(rows), Columns(0, covariate=1)).explained == 0.0


def test_the_lift_leaves_out_zero_exactly_where_the_difference_does() -> None:
    found = effect(Moments.from_sums(1000, 30, 30), Moments.from_sums(1000, 50, 50))
    z = float(found.difference / np.sqrt(found.variance))
    assert z == pytest.approx(2.2840, abs=1e-4)
    assert found.lift_interval(z + 1e-9)[0] == pytest.approx(0.0, abs=1e-6)
    low, high = found.lift_interval(1.96)
    assert (float(low), float(high)) == pytest.approx((0.0774, 1.7293), abs=1e-4)


def test_the_lift_over_what_may_be_zero_has_no_ends() -> None:
    found = effect(Moments.from_sums(1000, 2, 2), Moments.from_sums(1000, 9, 9))
    assert found.lift_interval(1.96) == (-np.inf, np.inf)
    assert np.isnan(effect(Moments.from_sums(9, 0, 0), Moments.from_sums(9, 1, 1)).lift)


def units(seed: int, lift: float) -> NDArray[np.float64]:
    """Clicks, pages, clicks before, pages before of 500 visitors."""
    rng = np.random.default_rng(seed)
    taste = rng.gamma(2.0, 1.0, 500)
    pages, before = rng.poisson(taste * 3) + 1, rng.poisson(taste * 3) + 1
    clicks = rng.binomial(pages, np.minimum(0.9, 0.1 * taste * lift))
    return np.stack([clicks, pages, rng.binomial(before, np.minimum(0.9, 0.1 * taste)), before], axis=1).astype(float)


@pytest.mark.parametrize(
    "columns", [VALUE, Columns(0, 1), Columns(0, None, 2), Columns(0, 1, 2, 3)], ids=["mean", "ratio", "cuped", "both"]
)
def test_the_estimates_are_those_of_tea_tasting(columns: Columns) -> None:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    from experiments.horizon import fixed_test

    old, new = Moments.of(units(1, 1.0)), Moments.of(units(2, 1.2))
    ours, theirs = effect(old, new, columns), fixed_test(old, new, columns)
    assert ours.difference == pytest.approx(theirs.difference, rel=1e-9)
    assert ours.lift == pytest.approx(theirs.lift, rel=1e-9)
    # Welch's t of 850 to 1,000 degrees of freedom: 1.9628 to 1.9623
    assert np.sqrt(ours.variance) * 1.9625 == pytest.approx((theirs.high - theirs.low) / 2.0, rel=2e-4)


def test_many_looks_are_computed_at_once() -> None:
    old, new = Moments.from_sums([100, 200], [10, 22], [10, 22]), Moments.from_sums([100, 200], [12, 30], [12, 30])
    found = effect(old, new)
    np.testing.assert_allclose(found.difference, [0.02, 0.04])
    last = effect(Moments.from_sums(200, 22, 22), Moments.from_sums(200, 30, 30))
    assert found.variance[1] == pytest.approx(float(last.variance))
