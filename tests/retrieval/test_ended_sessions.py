"""What is kept of sessions that are over."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import EndedSession, decode_ended, encode_ended
from contracts.ids import ItemKey
from retrieval.ended_sessions import KEPT_CLICKS, Trails, ended_session, slot_of

T0 = 1_700_000_000_000
GAP_MS = 1_800_000
A, B, C = ItemKey(1), ItemKey(2), ItemKey(3)


def told(trails: Trails, watermark_ms: int) -> list[tuple[int, int, list[int]]]:
    return [(slot, kept.started_ms, kept.items.tolist()) for slot, kept in trails.ended(watermark_ms)]


def test_a_session_always_takes_the_same_slot() -> None:
    assert slot_of("visitor-7", T0, 500_000) == 14_689
    assert slot_of("visitor-7", T0 + 1, 500_000) == 220_600
    assert {slot_of(f"s{n}", T0, 3) for n in range(50)} == {0, 1, 2}


def test_a_session_is_kept_once_it_is_over_as_it_clicked() -> None:
    trails = Trails(500_000, GAP_MS)
    for at, item in enumerate((A, B, C, A)):
        trails.click("s", item, T0 + at)

    assert told(trails, T0 + 3 + GAP_MS) == []
    assert told(trails, T0 + 4 + GAP_MS) == [(slot_of("s", T0, 500_000), T0, [A, B, C, A])]
    assert told(trails, T0 + 9 * GAP_MS) == []


def test_a_click_on_the_item_clicked_just_before_is_not_kept() -> None:
    trails = Trails(500_000, GAP_MS)
    before = [trails.click("s", item, T0 + at) for at, item in enumerate((A, A, B, B, B, A, A))]

    assert before == [[], [A], [A], [A, B], [A, B], [A, B], [A, B, A]]
    assert [items for _, _, items in told(trails, T0 + 10 * GAP_MS)] == [[A, B, A]]


def test_a_click_after_the_idle_gap_ends_the_session_and_begins_another() -> None:
    trails = Trails(500_000, GAP_MS)
    again_ms = T0 + 1 + GAP_MS + 1
    for item, ts_ms in ((A, T0), (B, T0 + 1), (C, again_ms), (A, again_ms + 5)):
        trails.click("s", item, ts_ms)

    assert told(trails, again_ms + 5) == [(slot_of("s", T0, 500_000), T0, [A, B])]
    assert told(trails, again_ms + 10 * GAP_MS) == [(slot_of("s", again_ms, 500_000), again_ms, [C, A])]


def test_a_click_that_is_ahead_of_its_time_holds_no_other_session_back() -> None:
    trails = Trails(500_000, GAP_MS)
    trails.click("ahead", A, T0 + 100 * GAP_MS)
    for at, item in enumerate((A, B)):
        trails.click("s", item, T0 + at)

    assert [items for _, _, items in told(trails, T0 + 2 + GAP_MS)] == [[A, B]]


def test_a_session_of_one_item_says_nothing() -> None:
    trails = Trails(500_000, GAP_MS)
    trails.click("s", A, T0)
    trails.click("s", A, T0 + 1)

    assert told(trails, T0 + 10 * GAP_MS) == []
    assert ended_session(T0, [A]) is None


def test_a_long_session_is_kept_by_its_last_clicks() -> None:
    trails = Trails(500_000, GAP_MS)
    for number in range(100):
        trails.click("s", ItemKey(number), T0 + number)

    [(_, _, items)] = told(trails, T0 + 10 * GAP_MS)
    assert items == list(range(100 - KEPT_CLICKS, 100))


@given(
    clicks=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.integers(0, 2 * GAP_MS)), min_size=1, max_size=60
    )
)
def test_every_session_of_two_items_is_kept_once_whenever_it_is_asked_for(
    clicks: list[tuple[str, int, int]],
) -> None:
    """Asking after every click, or once at the end, gives the same."""
    often, once, ts_ms, found = Trails(1000, GAP_MS), Trails(1000, GAP_MS), T0, []
    for session_id, item, pause_ms in clicks:
        ts_ms += pause_ms
        often.click(session_id, ItemKey(item), ts_ms)
        once.click(session_id, ItemKey(item), ts_ms)
        found += told(often, ts_ms)
    found += told(often, ts_ms + 10 * GAP_MS)
    assert sorted(found) == sorted(told(once, ts_ms + 10 * GAP_MS))


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_an_ended_session_survives_its_codec(started_ms: int, items: list[int]) -> None:
    raw = encode_ended(EndedSession(started_ms, np.array(items, np.uint64)))
    assert len(raw) == 9 + 8 * len(items)
    again = decode_ended(raw)
    assert (again.started_ms, again.items.tolist()) == (started_ms, items)
