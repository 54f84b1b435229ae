from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.baselines import HOUR_MS, Baseline, CoVisitation, Popularity, RecentPopularity


def learn(baseline: Baseline, clicks: str, session: str = "s", ts_ms: int = 0) -> None:
    for item in clicks:
        baseline.learn(session, item, ts_ms)


def test_popularity_ranks_by_clicks_so_far() -> None:
    baseline = Popularity()
    learn(baseline, "abbccc")
    assert baseline.predict([], 0, 2) == ["c", "b"]


def test_recent_popularity_forgets_what_was_popular_a_day_ago() -> None:
    baseline = RecentPopularity(HOUR_MS)
    learn(baseline, "a" * 1000)
    learn(baseline, "bb", ts_ms=24 * HOUR_MS)
    assert baseline.predict([], 24 * HOUR_MS, 2) == ["b", "a"]


def test_one_half_life_makes_two_old_clicks_worth_one_new_one() -> None:
    baseline = RecentPopularity(HOUR_MS)
    learn(baseline, "aaabb")
    learn(baseline, "b", ts_ms=HOUR_MS)  # a: 3, b: 2 + 2
    assert baseline.predict([], HOUR_MS, 1) == ["b"]
    baseline = RecentPopularity(HOUR_MS)
    learn(baseline, "aaaaab")
    learn(baseline, "b", ts_ms=HOUR_MS)  # a: 5, b: 1 + 2
    assert baseline.predict([], HOUR_MS, 1) == ["a"]


def test_years_of_clicks_do_not_overflow_the_weights() -> None:
    baseline = RecentPopularity(HOUR_MS)
    for hour in range(0, 10_000, 10):
        baseline.learn("s", "old" if hour < 9_000 else "new", hour * HOUR_MS)
    assert baseline.predict([], 0, 5) == ["new", "old"]
    covisitation = CoVisitation(HOUR_MS)
    for hour in range(0, 10_000, 10):
        learn(covisitation, "ab" if hour < 9_000 else "ac", session=str(hour), ts_ms=hour * HOUR_MS)
    assert covisitation.predict(["a"], 0, 2) == ["c", "b"]


def test_covisitation_predicts_what_others_clicked_next() -> None:
    baseline = CoVisitation()
    for session in ("s1", "s2", "s3"):
        learn(baseline, "ab", session)
    learn(baseline, "ac", "s4")
    learn(baseline, "zzzz", "s5")
    assert baseline.predict(["a"], 0, 2) == ["b", "c"]


def test_covisitation_fills_up_with_recent_popularity_and_never_with_the_item_on_the_page() -> None:
    baseline = CoVisitation()
    learn(baseline, "ab", "s1")
    learn(baseline, "zzy", "s2")
    assert baseline.predict(["a"], 0, 4) == ["b", "z", "y"]
    assert baseline.predict(["never seen"], 0, 1) == ["z"]
    assert baseline.predict([], 0, 1) == ["z"]


def test_covisitation_keeps_sessions_apart() -> None:
    baseline = CoVisitation()
    baseline.learn("s1", "a", 0)
    baseline.learn("s2", "b", 0)
    baseline.learn("s1", "c", 0)
    assert baseline.predict(["a"], 0, 1) == ["c"]


def test_covisitation_remembers_a_bounded_number_of_sessions() -> None:
    baseline = CoVisitation(sessions=2)
    for session in ("s1", "s2", "s3"):
        baseline.learn(session, f"first of {session}", 0)
    baseline.learn("s1", "b", 0)
    assert "b" not in baseline.predict(["first of s1"], 0, 1)
    baseline.learn("s3", "c", 0)
    assert baseline.predict(["first of s3"], 0, 1) == ["c"]


CLICKS = st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdefgh")), max_size=80)


@given(CLICKS, st.integers(min_value=1, max_value=8))
def test_popularity_in_order_is_what_counting_gives(clicks: list[tuple[str, str]], k: int) -> None:
    baseline = Popularity(kept=8)
    for session, item in clicks:
        baseline.learn(session, item, 0)
    counts = Counter(item for _, item in clicks)
    predicted = baseline.predict([], 0, k)
    assert [counts[item] for item in predicted] == [count for _, count in counts.most_common(k)]


@pytest.mark.parametrize("baseline", [Popularity(), RecentPopularity(), CoVisitation()])
@given(clicks=CLICKS, k=st.integers(min_value=1, max_value=20))
def test_predictions_are_distinct_items_and_at_most_k(
    baseline: Baseline, clicks: list[tuple[str, str]], k: int
) -> None:
    for session, item in clicks:
        baseline.learn(session, item, 0)
        predicted = baseline.predict([item], 0, k)
        assert len(predicted) <= k
        assert len(set(predicted)) == len(predicted)
