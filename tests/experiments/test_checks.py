"""The sample-ratio check, corrections for several metrics, caps and beta posteriors: literals and published numbers."""

from __future__ import annotations

from math import lgamma

import numpy as np
import pytest

from experiments.capped import cap_of, winsorised
from experiments.posterior import chance_above, expected_excess, posterior
from experiments.sample_ratio import always_valid_ratio, sample_ratio
from experiments.several import benjamini_hochberg, holm


def test_the_published_mismatch_is_found() -> None:
    # Kohavi, Tang and Xu (2020), chapter 3: 821,588 and 815,482 users, p = 1.8e-6
    found = sample_ratio([821_588, 815_482])
    assert found.p == pytest.approx(1.8e-6, rel=0.02)
    assert found.is_broken
    assert found.expected == (818_535.0, 818_535.0)


def test_units_in_the_shares_that_were_set_pass() -> None:
    found = sample_ratio([9_010, 500, 490], [0.9, 0.05, 0.05])
    assert found.p == pytest.approx(0.8998, abs=1e-4)
    assert not found.is_broken


def test_a_few_units_say_nothing_of_shares() -> None:
    assert sample_ratio([3, 0]).p is None


@pytest.mark.parametrize(("counts", "shares"), [([5], None), ([5, 5], [1.0]), ([5, 5], [1.0, 0.0])])
def test_shares_that_are_none_are_refused(counts: list[int], shares: list[float] | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        sample_ratio(counts, shares)


NEUHAUS = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
NEUHAUS += [0.7590, 1.0000]
"""The 15 p-values of Benjamini and Hochberg (1995), section 3.2."""


def test_published_p_values_are_corrected_as_published() -> None:
    # section 3.2: the false-discovery procedure finds the first four at 0.05, Bonferroni and Holm three
    assert (benjamini_hochberg(NEUHAUS) <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert (holm(NEUHAUS) <= 0.05).tolist() == [True] * 3 + [False] * 12
    assert holm(NEUHAUS)[:4].tolist() == pytest.approx([0.0015, 0.0056, 0.0247, 0.1140])
    assert benjamini_hochberg(NEUHAUS)[3] == pytest.approx(0.0095 * 15 / 4)


def test_corrections_keep_the_order_and_leave_out_what_is_not_known() -> None:
    assert holm([0.04, float("nan"), 0.01]).tolist() == pytest.approx([0.04, float("nan"), 0.02], nan_ok=True)
    assert holm([]).tolist() == []


def test_the_cap_is_of_those_who_bought() -> None:
    revenue = [0.0] * 96 + [10.0, 20.0, 30.0, 1000.0]
    assert cap_of(revenue, 0.5) == 25.0
    assert cap_of([0.0, 0.0], 0.99) == float("inf")
    assert winsorised([-50.0, 0.0, 10.0, 1000.0], 25.0).tolist() == [-25.0, 0.0, 10.0, 25.0]


def test_equal_evidence_is_worth_one_half() -> None:
    found = posterior((3, 20), (3, 20))
    assert found.better == pytest.approx(0.5, abs=1e-6)
    assert found.low == pytest.approx(-found.high, abs=1e-4)


def test_one_success_of_one_is_better_than_nothing_known_two_times_in_three() -> None:
    assert chance_above((2.0, 1.0), (1.0, 1.0)) == pytest.approx(2.0 / 3.0, abs=1e-6)
    assert expected_excess((1.0, 1.0), (1.0, 1.0)) == pytest.approx(1.0 / 6.0, abs=1e-6)


def miller(a: tuple[int, int], b: tuple[int, int]) -> float:
    """The chance that b is above a, by the sum of Miller (2015), of whole parameters."""

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    terms = (
        log_beta(a[0] + i, b[1] + a[1]) - np.log(b[1] + i) - log_beta(1 + i, b[1]) - log_beta(a[0], a[1])
        for i in range(b[0])
    )
    return float(sum(np.exp(one) for one in terms))


@pytest.mark.parametrize(
    ("control", "treatment"), [((10, 200), (18, 210)), ((0, 30), (2, 30)), ((400, 9000), (90, 1000))]
)
def test_the_chance_to_be_better_is_that_of_the_closed_form(
    control: tuple[int, int], treatment: tuple[int, int]
) -> None:
    old, new = ((1 + hits, 1 + units - hits) for hits, units in (control, treatment))
    assert posterior(control, treatment).better == pytest.approx(miller(old, new), abs=1e-5)


def test_a_posterior_says_what_it_was_given() -> None:
    found = posterior((10, 200), (18, 210))
    assert (found.control, found.treatment) == pytest.approx((11 / 202, 19 / 212))
    assert found.better == pytest.approx(0.9205, abs=1e-3)
    assert (found.low, found.high) == pytest.approx((-0.0141, 0.0865), abs=2e-3)
    with pytest.raises(ValueError, match="expected 0 to 5 successes of 5 units, got 6"):
        posterior((6, 5), (1, 5))


def test_a_ratio_that_is_looked_at_all_the_time_stops_sound_experiments_as_rarely_as_promised() -> None:
    looks = range(200, 20_001, 200)
    treated = np.random.default_rng(5).binomial(200, 0.5, (1000, len(looks))).cumsum(axis=1).tolist()
    runs = [[(n - k, k) for k, n in zip(run, looks, strict=True)] for run in treated]
    chi_square = [any((b - a) ** 2 / (a + b) > 10.828 for a, b in run) for run in runs]  # p below 0.001
    assert sum(chi_square) == 12
    assert sum(any(always_valid_ratio(counts).is_broken for counts in run) for run in runs) == 0


def test_units_that_are_lost_are_found_by_a_ratio_that_is_always_valid() -> None:
    assert always_valid_ratio([821_588, 815_482]).p == pytest.approx(4.7e-4, rel=0.05)  # chi-square: 1.8e-6
    assert always_valid_ratio([5_800, 5_340]).is_broken
    assert always_valid_ratio([10_150, 9_850]).p == pytest.approx(0.538, abs=0.001)
    assert always_valid_ratio([9_010, 500, 490], [0.9, 0.05, 0.05]).p == 1.0
    assert always_valid_ratio([5, 0]).p == pytest.approx(1.0, abs=0.01)
