"""What answers are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.next_item import Ground, bootstrap, measure, ranks_of, without_seen
from evaluation.sessions import cases_of
from tests.evaluation.recordings import sessions


def test_an_item_that_was_not_answered_is_a_miss() -> None:
    answers = np.array([[3, 1, 2], [4, -1, -1], [5, 6, 7]], np.int32)
    assert ranks_of(answers, np.array([2, 4, 0], np.int32)).tolist() == [3, 1, 0]


def test_figures_are_those_of_the_ranks() -> None:
    train, cases = sessions("aab", "abc"), cases_of(sessions("ab", "ac"))
    answers = np.array([[0, 1], [0, 1]], np.int32)
    found = measure(ranks_of(answers, cases.targets), cases, answers, Ground(train, np.random.default_rng(0)), seed=1)
    assert (found.cases, found.hit_rate.value, found.mrr.value) == (2, 0.5, 0.25)
    assert found.ndcg.value == pytest.approx(0.5 / np.log2(3))
    assert found.coverage == pytest.approx(2 / 3)
    assert found.popularity_rank == 1.5
    assert found.diversity == 0.0  # a and b are held by the same two sessions


def test_items_that_no_session_shares_are_as_diverse_as_can_be() -> None:
    ground = Ground(sessions("ab", "c"), np.random.default_rng(0))
    assert ground.diversity(np.array([[0, 2]], np.int32)) == 1.0
    assert ground.diversity(np.array([[0, 1, 2]], np.int32)) == pytest.approx(2 / 3)


def test_an_interval_is_as_wide_as_the_sessions_are_few() -> None:
    rng = np.random.default_rng(5)
    gains = (rng.random(4000) < 0.3).astype(float)[None]
    [apart] = bootstrap(gains, np.arange(4000), np.random.default_rng(1))
    error = 1.96 * np.sqrt(0.3 * 0.7 / 4000)
    assert apart.low < apart.value < apart.high
    assert (apart.high - apart.low) / 2 == pytest.approx(error, rel=0.1)
    # the same answers in sessions of 100 like cases: a hundredth of the evidence
    [together] = bootstrap(np.repeat(gains[:, :40], 100, axis=1), np.repeat(np.arange(40), 100), rng)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(10, rel=0.25)
    assert bootstrap(np.zeros((1, 0)), np.zeros(0, np.int64), rng)[0].value == 0.0


def test_what_the_session_clicked_is_left_out_and_what_is_below_moves_up() -> None:
    cases = cases_of(sessions("abac", "dd"))  # asked for b, a, c and d
    answers = np.array([[0, 1, 2], [3, 1, 0], [1, 0, 2], [3, -1, -1]], np.int32)
    assert without_seen(answers, cases).tolist() == [[1, 2, -1], [3, -1, -1], [2, -1, -1], [-1, -1, -1]]


@given(
    words=st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    k=st.integers(1, 8),
)
def test_leaving_out_is_what_going_through_the_answer_would_leave(words: list[str], seed: int, k: int) -> None:
    cases = cases_of(sessions(*words))
    rng = np.random.default_rng(seed)
    answers = np.array([rng.permutation(9)[:k] - 1 for _ in range(len(cases))], np.int32)
    left = without_seen(answers, cases)
    for at in range(len(cases)):
        expected = [item for item in answers[at].tolist() if item >= 0 and item not in cases.prefix(at)]
        assert left[at].tolist() == expected + [-1] * (k - len(expected))
