"""What clicks make of a profile: once each, and the same whatever order two devices' sessions come in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import EventCode
from contracts.profiles import Profile, decode_profile, encode_profile
from contracts.sessions import CLICK, Clicks
from session_model.profiles import ProfileRules, Visit, fold_visits, vector_at

DAY = 86_400_000
RULES = ProfileRules(max_events=20, half_life_ms=14.0 * DAY)


def clicks(*numbers: int, code: EventCode = EventCode.VIEW) -> Clicks:
    return np.array([(1000 * n, 10 + n % 5, n, code) for n in numbers], CLICK)


def unit(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.array(values, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def visit(session: int, *numbers: int, vector: Sequence[float] = (1, 0), last_ms: int | None = None) -> Visit:
    return Visit(session, clicks(*numbers), 1000 * max(numbers) if last_ms is None else last_ms, unit(*vector))


def test_clicks_count_once_in_the_order_of_their_time() -> None:
    profile = fold_visits(None, [visit(1, 3, 1)], RULES, model_version=7)
    profile = fold_visits(profile, [visit(1, 1, 2, 3)], RULES, model_version=7)
    assert profile.clicks["event"].tolist() == [1, 2, 3]
    assert (profile.events, profile.purchases, profile.sessions["name"].tolist()) == (3, 0, [1])


def test_purchases_are_counted_beyond_the_window() -> None:
    profile = fold_visits(None, [Visit(1, clicks(*range(30), code=EventCode.PURCHASE), 0)], RULES)
    assert (profile.events, profile.purchases, len(profile.clicks)) == (30, 30, 20)
    again = fold_visits(profile, [Visit(1, clicks(*range(30), code=EventCode.PURCHASE), 0)], RULES)
    assert (again.events, again.purchases) == (30, 30)


def test_a_session_counts_half_after_the_half_life_and_its_newest_state_counts() -> None:
    profile = fold_visits(None, [visit(1, 1, vector=(0, 1), last_ms=0)], RULES)
    profile = fold_visits(profile, [visit(1, 2, vector=(1, 0), last_ms=0)], RULES)
    profile = fold_visits(profile, [visit(2, 3, vector=(0, 1), last_ms=14 * DAY)], RULES)
    found = vector_at(profile, 14 * DAY, RULES.half_life_ms)
    assert found is not None
    assert found.round(4).tolist() == unit(0.5, 1.0).round(4).tolist()


def test_sessions_before_the_last_eight_count_by_their_age_too() -> None:
    profile = Profile()
    for n in range(20):
        profile = fold_visits(profile, [visit(n + 1, n + 1, vector=(1, n), last_ms=n * DAY)], RULES)
    expected = sum(2.0 ** (-(19 - n) / 14) * unit(1, n) for n in range(20))
    found = vector_at(profile, 19 * DAY, RULES.half_life_ms)
    assert found is not None
    assert len(profile.sessions) == 8
    assert np.allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_vectors_of_another_model_are_let_go_and_clicks_stay() -> None:
    profile = fold_visits(None, [visit(1, 1)], RULES, model_version=7)
    profile = fold_visits(profile, [visit(2, 2, vector=(1, 0, 0))], RULES, model_version=8)
    assert (profile.events, profile.sessions["name"].tolist(), profile.vectors.shape) == (2, [2], (1, 3))


def test_device_and_region_are_of_the_newest_click_that_said_them() -> None:
    newest = Visit(1, clicks(1), 1000, None, "phone", "eu", 2000)
    profile = fold_visits(None, [newest, Visit(2, clicks(2), 900, None, "laptop", "us", 1000)], RULES)
    assert (profile.device, profile.region, profile.seen_ms) == ("phone", "eu", 2000)
    profile = fold_visits(profile, [Visit(2, clicks(3), 3000, None, "", "", 3000)], RULES)
    assert (profile.device, profile.region) == ("phone", "eu")


VISITS = st.lists(
    st.tuples(st.integers(1, 8), st.lists(st.integers(1, 20), min_size=1, max_size=6, unique=True)),
    min_size=1,
    max_size=12,
)


@given(VISITS, st.data())
def test_neither_order_nor_repeats_change_a_profile(sessions: list[tuple[int, list[int]]], data: st.DataObject) -> None:
    visits = [visit(name, *numbers, vector=(name, max(numbers), 1)) for name, numbers in sessions]
    mixed = data.draw(st.permutations([*visits, *visits]))
    at_once = fold_visits(None, visits, RULES)
    one_by_one: Profile | None = None
    for one in mixed:
        one_by_one = fold_visits(one_by_one, [one], RULES)
    assert one_by_one is not None
    assert one_by_one.clicks.tolist() == at_once.clicks.tolist()
    assert (one_by_one.events, one_by_one.sessions.tolist()) == (at_once.events, at_once.sessions.tolist())
    assert np.allclose(one_by_one.vectors, at_once.vectors, atol=1e-6)


@given(VISITS)
def test_a_profile_is_read_as_it_was_written(sessions: list[tuple[int, list[int]]]) -> None:
    visits = [visit(name + 10 * n, *numbers) for n, (name, numbers) in enumerate(sessions)]
    profile = fold_visits(None, visits, RULES, model_version=3)
    raw = encode_profile(profile)
    found = decode_profile(raw)
    assert encode_profile(found) == raw
    assert found.clicks.tolist() == profile.clicks.tolist()
    assert len(raw) == 48 + 25 * len(profile.clicks) + 24 * len(profile.sessions) + 8
