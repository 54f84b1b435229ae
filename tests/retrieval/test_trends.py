"""Decayed counts: pairs of a session, one item's counters, and their serving replica."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import (
    TREND_COUNTS,
    ItemTrend,
    ShowingBlock,
    decode_showings,
    decode_trend,
    encode_showings,
    encode_trend,
)
from contracts.events import EventCode
from contracts.ids import ItemKey
from retrieval.trend_columns import AFTER, BEFORE, BOTH, RECENT, TrendColumns
from retrieval.trends import ClickOrigin, TrendRules, classify_click, earlier_items
from tests.retrieval.one_item import OneItem

HOUR = 3_600_000
RULES = TrendRules(half_life=timedelta(hours=1), recent_pace=4, neighbours=3, recent_neighbours=1, tracked=4)
A, B, C, D, E, F, G = (ItemKey(number) for number in range(1, 8))


def keys(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def test_a_click_is_paired_with_the_last_distinct_items_before_it_and_never_with_its_own() -> None:
    assert earlier_items([A, B], C, TrendRules()) == (B, A)
    assert earlier_items([A, B, C, D, C, D], D, TrendRules(pair_window=2)) == (C, B)
    assert earlier_items([], A, TrendRules()) == ()
    assert earlier_items([A, A], A, TrendRules()) == ()


def test_a_click_has_an_origin_in_its_session() -> None:
    assert classify_click([], A) is ClickOrigin.ENTRY
    assert classify_click([B, A], A) is ClickOrigin.REPEAT
    assert classify_click([B], A) is ClickOrigin.FORWARD
    assert classify_click([A, B], A) is ClickOrigin.RETURN


def test_origin_counts_never_decay() -> None:
    item = OneItem(RULES)
    for days, origin in enumerate(
        (ClickOrigin.ENTRY, ClickOrigin.FORWARD, ClickOrigin.FORWARD, ClickOrigin.RETURN, ClickOrigin.REPEAT)
    ):
        item.click(days * 86_400_000, origin=origin)
    columns = TrendColumns(RULES)
    columns.apply([(A, decode_trend(encode_trend(item.snapshot(400 * 86_400_000)))), (B, trend(8.0))])

    assert columns.origin_counts_at(columns.rows_of(keys(A, B, G))).tolist() == [
        [1, 1, 2, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert columns.transitions_per_item == 3.0  # of one item ever clicked
    columns.apply([(B, replace(trend(8.0), origin_counts=(1.0, 0.0, 0.0, 0.0)))])
    assert columns.transitions_per_item == 1.5
    columns.apply([(A, None)])
    assert columns.transitions_per_item == 0.0
    assert columns.origin_counts_at(columns.rows_of(keys(A))).tolist() == [[0, 0, 0, 0]]
    assert TrendColumns(RULES).origin_counts_at(np.array([-1], np.int32)).tolist() == [[0, 0, 0, 0]]


def test_counts_halve_once_per_half_life() -> None:
    item = OneItem(RULES)
    item.click(0, origin=ClickOrigin.ENTRY)
    item.click(0, EventCode.PURCHASE, origin=ClickOrigin.FORWARD)
    item.pair(B, 0.5, 0, after=True)
    item.pair(B, 0.25, 0, after=False)
    trend = item.snapshot(2 * HOUR)
    assert (trend.popularity, trend.views) == (0.5, 0.25)
    assert trend.neighbours.tolist() == [B]
    assert trend.weights[:, :2].tolist() == [[0.125, 0.0625]]


def test_recent_counts_halve_sooner_and_a_pair_before_weighs_half() -> None:
    item = OneItem(RULES)
    item.click(0, origin=ClickOrigin.ENTRY)
    item.pair(B, 1.0, 0, after=True)
    item.pair(C, 1.0, 0, after=False)
    trend = item.snapshot(HOUR // 2)
    assert trend.recent == 0.25
    assert dict(zip(trend.neighbours.tolist(), trend.weights[:, 2].tolist(), strict=True)) == {B: 0.25, C: 0.125}
    assert trend.popularity == pytest.approx(0.5**0.5)


def test_what_goes_together_lately_is_handed_on_however_weak_it_is_over_all() -> None:
    item = OneItem(RULES)
    for other in (B, C, D):
        for _ in range(100):
            item.pair(other, 1.0, 0, after=True)
    item.pair(E, 1.0, 3 * HOUR, after=True)
    trend = item.snapshot(3 * HOUR)
    assert trend.neighbours.tolist() == [B, C, E]
    assert trend.weights[:, 2].argmax() == 2


def test_counts_survive_more_half_lives_than_a_float_has_exponents() -> None:
    item = OneItem(RULES)
    for hour in range(0, 5000, 50):
        item.click(hour * HOUR, origin=ClickOrigin.ENTRY)
        item.pair(B, 1.0, hour * HOUR, after=True)
    trend = item.snapshot(4950 * HOUR)
    assert (trend.popularity, trend.recent) == pytest.approx((1.0, 1.0))
    assert trend.weights.tolist() == [pytest.approx([1.0, 0.0, 1.0])]


def test_a_snapshot_is_never_of_a_past_that_the_counts_have_left() -> None:
    item = OneItem(RULES)
    item.click(3 * HOUR, origin=ClickOrigin.ENTRY)
    assert item.snapshot(0).as_of_ms == 3 * HOUR
    assert item.snapshot(0).popularity == 1.0


def test_the_weakest_pairs_are_let_go_once_too_many_are_tracked() -> None:
    item = OneItem(RULES)
    for other, weight in ((B, 5.0), (C, 1.0), (D, 4.0), (E, 3.0), (F, 2.0)):
        item.pair(other, weight, 0, after=True)
    assert set(item.pairs) == {B, D, E}
    assert item.snapshot(0).neighbours.tolist() == [B, D, E]


arrivals = st.lists(
    st.tuples(
        st.sampled_from(["click", "cart", "pair"]),
        st.integers(0, 200 * HOUR),
        st.sampled_from([B, C, D, E]),
    ),
    min_size=1,
    max_size=30,
)


def count_one(item: OneItem, kind: str, ts: int) -> None:
    if kind == "click":
        item.click(ts, origin=ClickOrigin.ENTRY)
    else:
        item.click(ts, EventCode.CART, origin=ClickOrigin.FORWARD)


def counted(events: list[tuple[str, int, ItemKey]]) -> ItemTrend:
    rules = TrendRules(half_life=timedelta(hours=1), recent_pace=4, neighbours=4, tracked=4)
    item = OneItem(rules)
    for kind, ts, other in events:
        if kind == "pair":
            item.pair(other, 1.0, ts, after=other != B)
        else:
            count_one(item, kind, ts)
    return item.snapshot(200 * HOUR)


@given(arrivals, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_change_the_snapshot(events: list[tuple[str, int, ItemKey]], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = counted(events), counted(shuffled)
    for name in ("popularity", "recent", "views"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-30)
    weights = dict(zip(one.neighbours.tolist(), one.weights.tolist(), strict=True))
    others = dict(zip(other.neighbours.tolist(), other.weights.tolist(), strict=True))
    assert weights.keys() == others.keys()
    for key, weight in weights.items():
        assert weight == pytest.approx(others[key], rel=1e-5, abs=1e-30)


@given(arrivals, st.integers(0, 50))
def test_waiting_one_half_life_halves_every_count(events: list[tuple[str, int, ItemKey]], hours: int) -> None:
    item = OneItem(TrendRules(half_life=timedelta(hours=1), recent_pace=2))
    for kind, ts, other in events:
        if kind == "pair":
            item.pair(other, 1.0, ts, after=True)
        else:
            count_one(item, kind, ts)
    at = item.last_ms + hours * HOUR
    now, later = item.snapshot(at), item.snapshot(at + HOUR)
    assert later.popularity == pytest.approx(now.popularity / 2)
    assert later.views == pytest.approx(now.views / 2)
    assert later.recent == pytest.approx(now.recent / 4)
    expected = now.weights / np.array([2.0, 2.0, 4.0])
    by_key = dict(zip(later.neighbours.tolist(), later.weights.tolist(), strict=True))
    for key, weights in zip(now.neighbours.tolist(), expected.tolist(), strict=True):
        assert by_key[key] == pytest.approx(weights)


@given(st.lists(st.floats(0.01, 100.0), min_size=5, max_size=60, unique=True))
def test_pruning_keeps_the_strongest_pair(weights: list[float]) -> None:
    item = OneItem(RULES)
    for number, weight in enumerate(weights):
        item.pair(ItemKey(number), weight, 0, after=True)
    trend = item.snapshot(0)
    assert trend.neighbours[0] == int(np.argmax(weights))
    assert len(item.pairs) <= RULES.tracked


def trend(popularity: float, as_of_ms: int = 0, **counts: float) -> ItemTrend:
    recent = counts.get("recent", 0.0)
    pairs = [(B, (0.25 * popularity, 0.5 * popularity, 0.1 * recent)), (C, (0.25 * popularity, 0.0, 0.5 * recent))]
    return ItemTrend(
        as_of_ms=as_of_ms,
        popularity=popularity,
        recent=recent,
        views=counts.get("views", popularity),
        neighbours=np.array([key for key, _ in pairs], np.uint64),
        weights=np.array([weights for _, weights in pairs], np.float32),
    )


def test_neighbours_come_strongest_first_as_shares_with_padding_of_zero() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, decode_trend(encode_trend(trend(8.0, recent=4.0))))])
    neighbours, shares = columns.neighbours_of(keys(A, G))
    assert neighbours[0, :2].tolist() == [B, C]
    assert shares[:, :, BOTH].tolist() == [[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]]
    assert shares[0, :, AFTER].tolist() == [0.25, 0.25, 0.0]
    assert shares[0, :, BEFORE].tolist() == [0.5, 0.0, 0.0]
    assert shares[0, :, RECENT].tolist() == [pytest.approx(0.1, rel=1e-3), 0.5, 0.0]


def test_what_has_faded_to_nothing_has_shares_of_zero() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(0.0))])
    assert columns.neighbours_of(keys(A))[1].tolist() == [[[0.0] * 4] * 3]


def test_columns_without_a_single_trend_answer_every_question() -> None:
    columns = TrendColumns(RULES)
    assert not columns.neighbours_of(keys(A))[1].any()
    assert columns.recent_at(columns.rows_of(keys(A)), 0).tolist() == [0.0]
    assert columns.recent(0, 10).tolist() == []
    assert columns.popularity_of(keys(A), 0).tolist() == [0.0]
    assert columns.views_of(keys(A), 0).tolist() == [0.0]
    assert columns.ctr_of(keys(A)).tolist() == [0.0]
    assert columns.trending(0, 10).tolist() == []


def test_popularity_is_read_as_of_now_whenever_it_was_counted() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0, 0, views=4.0)), (B, trend(3.0, 2 * HOUR))])
    assert columns.popularity_of(keys(A, B, C), 3 * HOUR).tolist() == pytest.approx([1.0, 1.5, 0.0])
    assert columns.views_of(keys(A, B, C), 3 * HOUR).tolist() == pytest.approx([0.5, 1.5, 0.0])


def test_every_count_is_a_column_by_its_name_and_decays_at_its_own_pace() -> None:
    assert TREND_COUNTS == ("popularity", "recent", "views")
    counts = {"recent": 48.0, "views": 4.0}
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0, HOUR, **counts)), (B, trend(1.0)), (B, None)])
    rows = columns.rows_of(keys(A, B, G))

    later = {name: columns.counts_at(name, rows, 2 * HOUR).tolist() for name in TREND_COUNTS}

    assert later == {
        "popularity": [4.0, 0.0, 0.0],
        "recent": [3.0, 0.0, 0.0],
        "views": [2.0, 0.0, 0.0],
    }
    assert columns.counts_at("views", rows[:2], np.array([2 * HOUR, 3 * HOUR])).tolist() == [2.0, 0.0]


def test_trending_is_ordered_by_popularity_now_and_refreshed_once_a_second() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0, 0)), (B, trend(3.0, 2 * HOUR)), (C, trend(1.0, 2 * HOUR))])
    assert columns.trending(2 * HOUR, 10).tolist() == [B, A, C]
    columns.apply([(C, trend(9.0, 2 * HOUR)), (B, None)])
    assert columns.trending(2 * HOUR + 999, 10).tolist() == [B, A, C]
    assert columns.trending(2 * HOUR + 1000, 2).tolist() == [C, A]


def test_recent_clicks_fade_sooner_and_order_by_themselves() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(80.0, 0, recent=8.0)), (B, trend(3.0, 0, recent=3.0)), (C, trend(1.0))])
    assert columns.recent_at(columns.rows_of(keys(A, B, C, G)), HOUR // 2).tolist() == [2.0, 0.75, 0.0, 0.0]
    assert columns.recent(HOUR // 2, 10).tolist() == [A, B]
    columns.apply([(B, trend(4.0, HOUR // 4, recent=5.0))])
    assert columns.recent(HOUR // 2 + 1000, 1).tolist() == [B]


def test_a_count_as_of_a_time_long_before_it_stays_a_number() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(80.0, 100_000 * HOUR, recent=8.0))])
    assert np.isfinite(columns.recent_at(columns.rows_of(keys(A)), 0)).all()


def test_ctr_is_smoothed_towards_the_rate_over_all_items() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(1.0))])
    columns.apply_showings([(0, showings((A, 80.0, 8.0))), (7, showings((B, 20.0, 2.0)))])
    assert columns.ctr_of(keys(A, B, G)).tolist() == pytest.approx([0.1, 0.1, 0.1])
    columns.apply_showings([(7, showings((B, 20.0, 12.0)))])
    assert columns.ctr_of(keys(A, B, G)).tolist() == pytest.approx([0.12, 0.4, 0.2])


def showings(*counts: tuple[ItemKey, float, float]) -> ShowingBlock:
    block = ShowingBlock(
        keys(*(key for key, _, _ in counts)),
        np.array([shown for _, shown, _ in counts], np.float32),
        np.array([clicked for _, _, clicked in counts], np.float32),
    )
    return decode_showings(encode_showings(block))


def test_a_block_of_showings_takes_the_place_of_the_one_before_it() -> None:
    columns = TrendColumns(RULES)
    columns.apply_showings([(3, showings((A, 60.0, 60.0), (B, 40.0, 0.0)))])
    assert columns.ctr_of(keys(A, B)).tolist() == pytest.approx([72 / 80, 12 / 60])
    columns.apply_showings([(3, showings((B, 40.0, 40.0)))])
    assert columns.ctr_of(keys(A, B)).tolist() == pytest.approx([1.0, 1.0])
    assert columns.blocks() == [3]
    columns.apply_showings([(3, None)])
    assert columns.ctr_of(keys(A, B)).tolist() == [0.0, 0.0]
    assert columns.blocks() == []


def test_forgetting_the_trends_of_an_item_leaves_its_showings() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(4.0))])
    columns.apply_showings([(0, showings((A, 20.0, 20.0)))])
    columns.apply([(A, None)])
    assert columns.popularity_of(keys(A), 0).tolist() == [0.0]
    assert columns.ctr_of(keys(A)).tolist() == [1.0]


def test_a_forgotten_item_has_no_trends_and_may_come_back() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0)), (A, None)])
    assert columns.popularity_of(keys(A), 0).tolist() == [0.0]
    assert columns.neighbours_of(keys(A))[1].sum() == 0.0
    columns.apply([(A, trend(2.0))])
    assert columns.popularity_of(keys(A), 0).tolist() == [2.0]


def test_rules_that_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < neighbours <= tracked"):
        TrendRules(neighbours=10, tracked=5)
    with pytest.raises(ValueError, match="recent_pace >= 1"):
        TrendRules(recent_pace=0.5)
