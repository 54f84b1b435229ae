"""Thompson sampling: fading sums, shares that are what is drawn, and regret where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from experiments.bandit_log import BanditLog
from experiments.bandit_simulation import contextual, drifting, played, stationary
from experiments.off_policy import weighted_values
from experiments.thompson import Sums, cell_posterior, largest, shares

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("a", "b"),
    [((1.0, 1.0), (1.0, 1.0)), ((31.0, 41.0, 36.0), (971.0, 961.0, 966.0)), ((1.2, 900.0), (0.6, 100.0)),
     ((0.1, 1.5), (2.0, 40.0)), ((2.0, 5000.0, 3.0), (3.0, 2000.0, 1.0))],
)  # fmt: skip
def test_the_probability_of_the_largest_is_that_of_many_draws(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    draws = beta.rvs(a, b, size=(400_000, len(a)), random_state=1)
    often = np.bincount(draws.argmax(axis=1), minlength=len(a)) / len(draws)
    assert largest(a, b) == pytest.approx(often, abs=0.004)


def test_a_floor_is_kept_and_must_leave_room() -> None:
    p = shares(np.array([1.0, 500.0]), np.array([999.0, 500.0]), 0.1)
    assert p == pytest.approx([0.1, 0.9])
    with pytest.raises(ValueError, match=r"floor of 0 to 0\.5000"):
        shares(np.ones(2), np.ones(2), 0.6)


def test_sums_halve_add_up_in_any_order_and_survive_their_record() -> None:
    early, late = Sums(0, np.array([8.0, 4.0]), np.array([2.0, 0.0])), Sums(HOUR, np.array([1.0, 1.0]), np.zeros(2))
    both = early.plus(late, HOUR)
    assert (both.at_ms, both.pages.tolist(), both.rewards.tolist()) == (HOUR, [5.0, 3.0], [1.0, 0.0])
    assert late.plus(early, HOUR).encode() == both.encode() == Sums.decode(both.encode()).encode()
    for wrong in (b"", b"{}", b"[0, [1], [1, 2]]", b"[0, [-1], [0]]", b"[0, [NaN], [0]]"):
        with pytest.raises(ValueError, match="expected"):
            Sums.decode(wrong)


def test_a_cell_starts_from_the_whole_and_leaves_it_by_its_own_pages() -> None:
    whole = Sums(0, np.array([998.0]), np.array([99.0]))
    a, b = cell_posterior(Sums.none(1), whole)
    assert (a[0], b[0]) == (5.0, 45.0)
    a, b = cell_posterior(Sums(0, np.array([950.0]), np.array([495.0])), whole)
    assert a[0] / (a[0] + b[0]) == 0.5


def test_regret_is_bounded_where_the_truth_stays_and_where_it_drifts() -> None:
    stays = played(stationary(20_000), seed=3)
    assert stays.regret < 0.25
    forgets, keeps = (played(drifting(40_000), seed=3, half_life_ms=ms) for ms in (2_000_000.0, 1e12))
    assert forgets.regret < 0.45
    assert forgets.regret < keeps.regret


def test_late_rewards_cost_little() -> None:
    assert played(stationary(20_000), seed=3, delay=1_000).regret < 0.35


def test_with_context_the_regret_is_smaller_where_segments_differ() -> None:
    truth, cells = contextual(40_000)
    alone, with_cells = played(truth, seed=3), played(truth, seed=3, cells=cells)
    assert with_cells.regret < 0.4
    assert alone.regret > 0.7


def test_the_value_of_uniform_from_the_bandits_log_holds_the_truth() -> None:
    truth = stationary(10_000)
    n, k = truth.shape
    places, held = np.zeros(n, np.int64), {"ips": 0, "snips": 0}
    for seed in range(10):
        run = played(truth, seed=seed, floor=0.1)
        log = BanditLog(("a", "b", "c"), ("1",), run.arm, places, run.reward, run.propensity, np.arange(n))
        values = weighted_values(log, 1.0 / k / run.propensity, np.random.default_rng(1), resamples=0)
        for value in values:
            held[value.name] += value.holds(float(truth.mean()))
        assert run.reward.mean() > values[0].value
    assert held["ips"] >= 8
    assert held["snips"] >= 8
