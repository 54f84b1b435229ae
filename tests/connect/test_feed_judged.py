"""What a pull changes, whether it is held back, and how fast it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connect.feeds.judged import Counts, Known, Pace, change_of, digest_of, pace_of, pause_s, stock_to_tell, why_held

A, B = Known(b"a", 5), Known(b"b", 5)


def test_an_item_is_put_when_it_is_new_or_another_and_only_its_stock_is_set_when_that_changed() -> None:
    assert change_of(None, A) == "put"
    assert change_of(A, B) == "put"
    assert change_of(A, A) == "same"
    assert change_of(A, Known(b"a", 4)) == "stock"
    assert change_of(A, Known(b"a", None)) == "same"  # the feed says nothing of it


def test_a_put_tells_no_stock_that_was_told_before() -> None:
    assert stock_to_tell(None, A) == 5
    assert stock_to_tell(A, B) is None
    assert stock_to_tell(A, Known(b"b", 0)) == 0


def test_a_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_a_feed_that_lost_more_than_its_share_or_is_empty_is_held_back() -> None:
    assert why_held(Counts(1000, 300, 700), 0.3) is None
    assert why_held(Counts(1000, 301, 699), 0.3) == "301 of 1,000 items are gone (30%, over 30%)"
    assert why_held(Counts(1000, 1000, 0), 1.0) == "the feed is empty; it had 1,000 items"
    assert why_held(Counts(0, 0, 0), 0.3) == "the feed is empty"
    assert why_held(Counts(0, 0, 5), 0.0) is None


@given(
    count=st.integers(1, 1000),
    took_s=st.floats(0, 60),
    most_per_s=st.floats(1, 10_000),
    share=st.floats(0.01, 1),
)
def test_changes_come_no_faster_than_allowed_and_leave_the_gateway_its_time(
    count: int, took_s: float, most_per_s: float, share: float
) -> None:
    whole_s = took_s + pause_s(count, took_s, most_per_s, share)
    assert count <= most_per_s * whole_s * (1 + 1e-9)
    assert took_s <= share * whole_s * (1 + 1e-9) + 1e-12


def test_a_fast_gateway_is_held_to_the_rate_and_a_slow_one_to_its_share() -> None:
    assert pause_s(50, 0.02, 500, 0.25) == 0.08
    assert pause_s(50, 1.0, 500, 0.25) == 3.0


def test_feeds_are_quick_only_where_every_answer_says_that_nobody_asks() -> None:
    busy, quiet = Pace(20, 200, 0.5), Pace(1000, 5000, 1.0)
    for said, pace in (
        ((), busy),
        ((None,), busy),
        ((0.0, None), busy),
        ((0.0,), quiet),
        ((0.2, 0.9), quiet),
        ((0.0, 1.0), busy),
        ((0.0, 50.0, 0.0), busy),
    ):
        assert pace_of(said, busy, quiet) is pace, said
