"""Session windows: what is applied, what counts once, what comes too late."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from contracts.sessions import Session
from session_model.window import Arrival, Folded, Outcome, WindowRules, fold

MINUTE = 60_000
RULES = WindowRules(max_events=3, idle_gap_ms=30 * MINUTE)
APPLIED, DUPLICATE, LATE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE


def arrivals(*clicks: tuple[int, int], watermark: int = 0, first_offset: int = 0) -> list[Arrival]:
    """Clicks given as (minute, event key), with the watermark that they themselves move."""
    made = []
    for n, (minute, event) in enumerate(clicks):
        made.append(Arrival("s", None, (minute * MINUTE, event * 10, event, 1), first_offset + n, watermark * MINUTE))
        watermark = max(watermark, minute)
    return made


def minutes(session: Session | None) -> list[int]:
    assert session is not None
    return [ts // MINUTE for ts in session.window["ts_ms"].tolist()]


def test_clicks_of_one_session_fill_its_window() -> None:
    folded = fold(None, arrivals((1, 1), (2, 2)), RULES)
    assert minutes(folded.session) == [1, 2]
    assert folded.outcomes == (APPLIED, APPLIED)
    assert folded.session is not None
    assert (folded.session.events, folded.session.last_offset, folded.session.last_ms) == (2, 1, 2 * MINUTE)


def test_a_repeated_event_counts_once() -> None:
    folded = fold(None, arrivals((1, 1), (2, 2), (1, 1)), RULES)
    assert folded.outcomes == (APPLIED, APPLIED, DUPLICATE)
    assert folded.session is not None
    assert folded.session.events == 2


def test_a_full_window_lets_go_of_its_oldest_click_but_still_counts_it() -> None:
    folded = fold(None, arrivals((1, 1), (2, 2), (3, 3), (4, 4)), RULES)
    assert minutes(folded.session) == [2, 3, 4]
    assert folded.session is not None
    assert folded.session.events == 4


def test_a_click_let_go_of_by_a_full_window_does_not_come_back() -> None:
    before = fold(None, arrivals((1, 1), (2, 2), (3, 3), (4, 4)), RULES).session
    again = fold(before, arrivals((1, 1), watermark=4), RULES)
    assert again.outcomes == (LATE,)
    assert again.session is before


def test_a_click_after_the_idle_gap_starts_afresh() -> None:
    folded = fold(None, arrivals((1, 1), (32, 2)), RULES)
    assert minutes(folded.session) == [32]
    assert folded.session is not None
    assert folded.session.events == 1
    assert folded.appended is None


def test_a_click_exactly_at_the_idle_gap_still_belongs() -> None:
    assert minutes(fold(None, arrivals((1, 1), (31, 2)), RULES).session) == [1, 31]


def test_a_late_click_does_not_reopen_a_closed_session() -> None:
    before = fold(None, arrivals((1, 1)), RULES).session
    folded = fold(before, arrivals((5, 2), watermark=40), RULES)
    assert folded.outcomes == (LATE,)
    assert folded.session is before


def test_a_late_click_does_not_open_a_session_that_expired() -> None:
    folded = fold(None, arrivals((5, 2), watermark=40), RULES)
    assert folded.session is None
    assert folded.outcomes == (LATE,)


def test_a_click_out_of_order_finds_its_place_and_asks_for_a_new_encoding() -> None:
    before = fold(None, arrivals((1, 1), (5, 2)), RULES).session
    folded = fold(before, arrivals((3, 3), watermark=5), RULES)
    assert minutes(folded.session) == [1, 3, 5]
    assert folded.appended is None


def test_clicks_at_the_end_ask_for_as_many_steps() -> None:
    before = fold(None, arrivals((1, 1)), RULES).session
    assert fold(before, arrivals((2, 2), (3, 3), watermark=1), RULES).appended == 2


CLICKS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 12)), min_size=1, max_size=30)


def seen_by(session: Session | None) -> object:
    return None if session is None else (session.events, session.started_ms, session.window.tolist())


@given(CLICKS, st.data())
def test_batch_boundaries_change_nothing(clicks: list[tuple[int, int]], data: st.DataObject) -> None:
    made = arrivals(*clicks)
    cut = data.draw(st.integers(0, len(made)))
    whole = fold(None, made, RULES)
    first = fold(None, made[:cut], RULES)
    second = fold(first.session, made[cut:], RULES)
    assert seen_by(second.session) == seen_by(whole.session)
    assert first.outcomes + second.outcomes == whole.outcomes


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.data())
def test_any_order_of_arrival_within_the_gap_gives_the_same_window(times: list[int], data: st.DataObject) -> None:
    clicks = [(minute, n + 1) for n, minute in enumerate(times)]
    rules = WindowRules(max_events=5, idle_gap_ms=30 * MINUTE)
    shuffled = data.draw(st.permutations(clicks))
    assert fold_window(shuffled, rules) == fold_window(sorted(clicks), rules)


def fold_window(clicks: Sequence[tuple[int, int]], rules: WindowRules) -> list[object]:
    folded = fold(None, arrivals(*clicks), rules)
    assert folded.session is not None
    return list(folded.session.window.tolist())


@given(CLICKS, st.data())
def test_sending_everything_twice_applies_nothing_more(clicks: list[tuple[int, int]], data: st.DataObject) -> None:
    unique = [(minute, n + 1) for n, (minute, _) in enumerate(clicks)]
    once: Folded = fold(None, arrivals(*unique), RULES)
    repeat = data.draw(st.lists(st.sampled_from(unique), min_size=1))
    twice = fold(once.session, arrivals(*repeat, watermark=max(minute for minute, _ in unique)), RULES)
    assert APPLIED not in twice.outcomes
    assert seen_by(twice.session) == seen_by(once.session)
