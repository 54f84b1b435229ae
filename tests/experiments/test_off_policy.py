"""Off-policy estimates: by hand, on simulations whose truth is known, and on the Open Bandit data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from experiments.bandit_log import BanditLog, read_log
from experiments.off_policy import own_value, policy_values, rare_interval, weighted_values, weights_of
from experiments.policies import Policy, chosen_by_column, is_table, read_policy, shares_of, uniform
from tests.evaluation.recordings import recording

pytest.importorskip("pyarrow", reason="needs the experiments extra")

Floats = NDArray[np.float64]
LOG = "action,position,reward,propensity,page\na,1,1,0.5,p\nb,1,0,0.5,p\na,2,1,0.8,q\nb,2,0,0.2,q\n"


def written(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_the_estimates_are_those_by_hand(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, LOG))
    policy = Policy("b", np.array([[0.25, 0.75]]), np.zeros(4, np.int64))
    # weights 0.5, 1.5, 0.3125, 3.75; they earn 0.5 and 0.3125
    ips, snips, _ = policy_values(log, policy, rng())[0]
    assert ips.value == pytest.approx(0.8125 / 4)
    assert snips.value == pytest.approx(0.8125 / 6.0625)
    apart = np.array([0.5, 0.0, 0.3125, 0.0]) - snips.value * np.array([0.5, 1.5, 0.3125, 3.75])
    half = 3.1824 * apart.std(ddof=1) / 2.0 / 1.515625  # Student's t, 3 degrees
    assert snips.high - snips.value == pytest.approx(half, rel=1e-4)
    found = weights_of(policy.of_chosen(log) / log.propensity)
    assert found.mean == pytest.approx(1.515625)
    assert found.effective == pytest.approx(6.0625**2 / (0.25 + 2.25 + 0.3125**2 + 3.75**2))
    assert found.largest == pytest.approx(3.75)


def test_rare_rewards_have_the_exact_interval_where_weights_are_equal() -> None:
    # Garwood (1936): five counts, 1.62 to 11.67; none, up to 3.69
    assert rare_interval(np.array([2.0] * 5 + [0.0] * 9), 2.0) == pytest.approx((2 * 1.6235, 2 * 11.6683), abs=1e-3)
    assert rare_interval(np.zeros(9), 1.0) == pytest.approx((0.0, 3.6889), abs=1e-4)


@pytest.mark.parametrize(("logged", "usual"), [("even", 0.9), ("uneven", 0.75)])
def test_rare_rewards_need_their_own_interval(logged: str, usual: float) -> None:
    """One reward in 200 rows, 34 actions, 10,000 rows; the usual interval is that of the normal distribution."""
    fixed, count, rows = np.random.default_rng(0), 34, 10_000
    pays, uneven, even = fixed.beta(2, 400, count), fixed.dirichlet(np.full(count, 0.3)), np.full(count, 1.0 / count)
    chances, wanted = (even, uneven) if logged == "even" else (0.98 * uneven + 0.02 / count, even)
    held = np.zeros(2)
    for seed in range(300):
        drawn = np.random.default_rng(seed)
        action = drawn.choice(count, rows, p=chances)
        earned = (drawn.random(rows) < pays[action]) * (wanted / chances)[action] / rows
        value, half = earned.sum(), 1.96 * earned.std() * np.sqrt(rows)
        low, high = rare_interval(earned, float((wanted / chances).max()) / rows)
        truth = float(wanted @ pays)
        held += [low <= truth <= high, abs(value - truth) <= half]
    assert held[0] / 300 >= 0.95
    assert held[1] / 300 < usual + 0.05  # what it would be otherwise


def test_rows_of_a_page_count_together(tmp_path: Path) -> None:
    apart, pages = (read_log(written(tmp_path, LOG), unit=unit) for unit in ("", "page"))
    assert pages.unit.tolist() == [0, 0, 1, 1]
    whole, half = own_value(apart, rng()), own_value(pages, rng())
    assert whole.value == half.value == 0.5
    assert half.low == half.high == 0.5  # both pages earned 1 of 2


def test_a_policy_held_to_its_own_log_earns_what_it_earned() -> None:
    log = simulated(1, 1000).log
    same = weighted_values(log, np.ones(len(log)), rng())
    assert same[0].value == same[1].value == own_value(log, rng()).value


TRUTH: list[float] = []
"""What the other policy earns, once it was asked for."""


class Simulated:
    """A log of 5 actions over two numbers and a word of context, and another policy with its true value."""

    def __init__(self, log: BanditLog, policy: Policy, truth: float) -> None:
        self.log, self.policy, self.truth = log, policy, truth


def simulated(seed: int, rows: int) -> Simulated:
    """Rewards are 0 or 1. The truth is the policy's expected reward over 100,000 contexts."""
    drawn, count = np.random.default_rng(seed), 5
    fixed = np.random.default_rng(99)
    slopes, tastes, wanted = (
        fixed.normal(0, 1, (2, count)),
        fixed.normal(0, 1, (3, count)),
        fixed.normal(0, 1, (2, count)),
    )

    def chances(numbers: Floats, word: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        logged, other = softmax(0.7 * numbers @ slopes), softmax(1.2 * numbers @ wanted)
        return 0.9 * logged + 0.1 / count, other, 1.0 / (1.0 + np.exp(-(numbers @ slopes + tastes[word] - 1.0)))

    if not TRUTH:
        many = np.random.default_rng(7)
        _, other, pays = chances(many.normal(0, 1, (100_000, 2)), many.integers(0, 3, 100_000))
        TRUTH.append(float((other * pays).sum(axis=1).mean()))
    numbers, word = drawn.normal(0, 1, (rows, 2)), drawn.integers(0, 3, rows)
    logged, other, pays = chances(numbers, word)
    action = (drawn.random(rows)[:, None] > logged.cumsum(axis=1)).sum(axis=1).clip(0, count - 1)
    at = np.arange(rows)
    reward = (drawn.random(rows) < pays[at, action]).astype(float)
    from experiments.tables import Texts

    log = BanditLog(
        tuple("abcde"), ("",), action, np.zeros(rows, np.int64), reward, logged[at, action], at,
        numbers=(numbers[:, 0], numbers[:, 1]), words=(Texts(word, ("x", "y", "z")),),
    )  # fmt: skip
    return Simulated(log, Policy("other", other, at), TRUTH[0])


def softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.slow
def test_intervals_hold_a_known_truth_and_the_reward_model_narrows_them() -> None:
    held, widths, values = np.zeros(3), np.zeros(3), []
    for seed in range(200):
        case = simulated(seed, 1000)
        found, _ = policy_values(case.log, case.policy, np.random.default_rng(seed), resamples=0)
        held += [one.holds(case.truth) for one in found]
        widths += [one.high - one.low for one in found]
        values.append([one.value for one in found])
    assert (held / 200 >= 0.92).all(), held / 200
    assert widths[2] < widths[1] < widths[0]
    np.testing.assert_allclose(np.mean(values, axis=0), case.truth, atol=0.01)


def test_resampled_intervals_agree_with_the_others_where_rows_are_many() -> None:
    case = simulated(3, 4000)
    for one in policy_values(case.log, case.policy, rng())[0]:
        assert one.drawn_low == pytest.approx(one.low, abs=0.01)
        assert one.drawn_high == pytest.approx(one.high, abs=0.01)


def test_choices_that_the_log_never_made_are_counted(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, LOG))
    other = read_log(written(tmp_path, LOG.replace("b,2", "c,2"), "other.csv"))
    policy = shares_of(other, log, "other")
    assert policy.table.tolist() == [[0.5, 0.5], [0.5, 0.0]]  # c is not known
    assert policy.unsupported(log) == pytest.approx(0.25)
    assert uniform(log).unsupported(log) == 0.0


def test_propensities_that_are_wrong_show_in_the_weights() -> None:
    case = simulated(4, 4000)
    right = policy_values(case.log, case.policy, rng(), resamples=0)[1]
    wrong = replace(case.log, propensity=np.full(len(case.log), 0.2))
    assert abs(right.off) < 3.0
    assert policy_values(wrong, case.policy, rng(), resamples=0)[1].off > 3.0


def test_a_table_of_probabilities_is_a_policy(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, LOG))
    flat = written(tmp_path, "action,probability\nb,0.9\na,0.1\n", "flat.csv")
    places = written(tmp_path, "position,action,probability\n2,a,1\n1,b,1\n", "places.csv")
    assert is_table(flat)
    assert not is_table(tmp_path / "log.csv")
    assert read_policy(flat, log).table.tolist() == [[0.1, 0.9], [0.1, 0.9]]
    assert read_policy(places, log).table.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "action,probability\na,0.5\nb,0.4\n",
            "expected probabilities from 0 that sum to 1 in each position, got 0.9000",
        ),
        ("action,probability\na,0.5\na,0.5\n", "expected each action once in a position, got 'a' again"),
        ("action,position,probability\na,1,1\n", r"expected the positions of the log \('1', '2'\), got none for '2'"),
    ],
)
def test_a_table_that_is_no_policy_is_refused(tmp_path: Path, text: str, said: str) -> None:
    log = read_log(written(tmp_path, LOG))
    with pytest.raises(ImportFormatError, match=said):
        read_policy(written(tmp_path, text, "policy.csv"), log)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LOG.replace("0.8", "0"), r"column 'propensity', row 3: expected a probability from 1e-09 to 1, got 0\.0"),
        (LOG.replace("0.8", "1.5"), r"row 3: expected a probability from 1e-09 to 1, got 1\.5"),
        (LOG.replace("b,1,0", "b,1,"), "column 'reward', row 2: expected a number, got nan"),
        (LOG.replace("propensity", "propensty"), "expected a column 'propensity', .* did you mean propensty?"),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ImportFormatError, match=said):
        read_log(written(tmp_path, text))


def test_a_column_of_the_log_may_say_what_the_policy_would_do(tmp_path: Path) -> None:
    path = written(tmp_path, "action,reward,propensity,new\na,1,0.5,0.2\nb,0,0.5,1.2\n")
    with pytest.raises(ImportFormatError, match=r"column 'new', row 2: expected a probability, got 1\.2"):
        chosen_by_column(path, "new")


def open_bandit(policy: str, campaign: str) -> BanditLog:
    return read_log(recording("open-bandit", "obd.zip") / policy / campaign / f"{campaign}.csv")


@pytest.mark.parametrize(
    ("logged", "asked", "campaign", "rows_worth", "values"),
    [
        ("random", "bts", "men", 2869, (0.00566, 0.00574, 0.00577)),
        ("random", "bts", "women", 3492, (0.00581, 0.00583, 0.00583)),
        ("bts", "random", "men", 656, (0.00301, 0.00319, 0.00331)),
    ],
)
def test_one_policys_log_tells_what_the_other_earned(
    logged: str, asked: str, campaign: str, rows_worth: int, values: tuple[float, ...]
) -> None:
    log, other = open_bandit(logged, campaign), open_bandit(asked, campaign)
    assert len(log) == 10_000
    policy = uniform(log) if asked == "random" else shares_of(other, log, asked)
    found, weights = policy_values(log, policy, rng(), resamples=0)
    own = own_value(other, rng(), resamples=0)
    assert weights.effective == pytest.approx(rows_worth, abs=1)
    assert [one.value for one in found] == pytest.approx(values, abs=5e-5)
    assert [one.holds(own.value) for one in found] == [True, True, True]


def test_a_log_that_nearly_never_tries_an_action_says_that_it_is_worth_two_rows() -> None:
    log = open_bandit("bts", "women")
    weights = policy_values(log, uniform(log), rng(), resamples=0)[1]
    assert weights.effective == pytest.approx(2.08, abs=0.01)
    assert weights.largest == pytest.approx(21739, abs=1)
