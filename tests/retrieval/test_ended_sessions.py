"""What is kept of ended sessions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import EndedSession, decode_ended, encode_ended
from contracts.ids import ItemKey
from retrieval.ended_sessions import KEPT_CLICKS, ended_session, keep_click, slot_of

T0 = 1_700_000_000_000
A, B = ItemKey(1), ItemKey(2)


def kept(*clicks: int) -> list[int]:
    items: list[ItemKey] = []
    for click in clicks:
        keep_click(items, ItemKey(click))
    return list(items)


def test_a_session_always_takes_the_same_slot() -> None:
    assert slot_of("visitor-7", T0, 500_000) == 14_689
    assert slot_of("visitor-7", T0 + 1, 500_000) == 220_600
    assert {slot_of(f"s{n}", T0, 3) for n in range(50)} == {0, 1, 2}


def test_a_click_on_the_item_clicked_just_before_is_not_kept() -> None:
    assert kept(A, A, B, B, B, A, A) == [A, B, A]


def test_a_long_session_is_kept_by_its_last_clicks() -> None:
    assert kept(*range(100)) == list(range(100 - KEPT_CLICKS, 100))


def test_a_session_of_one_item_says_nothing() -> None:
    assert ended_session(T0, [A]) is None


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_an_ended_session_survives_its_codec(started_ms: int, items: list[int]) -> None:
    raw = encode_ended(EndedSession(started_ms, np.array(items, np.uint64)))
    assert len(raw) == 9 + 8 * len(items)
    again = decode_ended(raw)
    assert (again.started_ms, again.items.tolist()) == (started_ms, items)
