"""Decayed counts: pairs of a session, one item's counters, and their serving replica."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import ItemTrend, decode_trend, encode_trend
from contracts.events import EventCode
from contracts.ids import ItemKey
from retrieval.trends import TrendAccumulator, TrendColumns, TrendRules, session_pairs

HOUR = 3_600_000
RULES = TrendRules(half_life=timedelta(hours=1), neighbours=3, tracked=4)
A, B, C, D, E, F, G = (ItemKey(number) for number in range(1, 8))


def keys(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def test_a_click_pairs_with_earlier_items_both_ways_and_nearer_ones_more() -> None:
    assert session_pairs([A, B], C, TrendRules(backward=0.5)) == [
        (B, C, 1.0),
        (C, B, 0.5),
        (A, C, 0.5),
        (C, A, 0.25),
    ]


def test_only_the_last_distinct_items_are_paired_and_never_the_item_with_itself() -> None:
    rules = TrendRules(pair_window=2, backward=0.0)
    assert session_pairs([A, B, C, D, C, D], D, rules) == [(C, D, 1.0), (B, D, 0.5)]
    assert session_pairs([], A, rules) == []
    assert session_pairs([A, A], A, rules) == []


def test_counts_halve_once_per_half_life() -> None:
    item = TrendAccumulator(RULES)
    item.click(0)
    item.click(0, EventCode.PURCHASE)
    item.impression(0)
    item.clicked_impression(0)
    item.pair(B, 0.5, 0)
    trend = item.snapshot(2 * HOUR)
    assert (trend.popularity, trend.views, trend.impressions, trend.clicks) == (0.5, 0.25, 0.25, 0.25)
    assert trend.neighbours.tolist() == [B]
    assert trend.weights.tolist() == [0.125]


def test_counts_survive_more_half_lives_than_a_float_has_exponents() -> None:
    item = TrendAccumulator(RULES)
    for hour in range(0, 5000, 50):
        item.click(hour * HOUR)
        item.pair(B, 1.0, hour * HOUR)
    trend = item.snapshot(4950 * HOUR)
    assert trend.popularity == pytest.approx(1.0)
    assert trend.weights.tolist() == pytest.approx([1.0])


def test_a_snapshot_is_never_of_a_past_that_the_counts_have_left() -> None:
    item = TrendAccumulator(RULES)
    item.click(3 * HOUR)
    assert item.snapshot(0).as_of_ms == 3 * HOUR
    assert item.snapshot(0).popularity == 1.0


def test_the_weakest_pairs_are_let_go_once_too_many_are_tracked() -> None:
    item = TrendAccumulator(RULES)
    for other, weight in ((B, 5.0), (C, 1.0), (D, 4.0), (E, 3.0), (F, 2.0)):
        item.pair(other, weight, 0)
    assert set(item.pairs or {}) == {B, D, E}
    assert item.snapshot(0).neighbours.tolist() == [B, D, E]


arrivals = st.lists(
    st.tuples(
        st.sampled_from(["click", "impression", "clicked_impression", "pair"]),
        st.integers(0, 200 * HOUR),
        st.sampled_from([B, C, D, E]),
    ),
    min_size=1,
    max_size=30,
)


def counted(events: list[tuple[str, int, ItemKey]]) -> ItemTrend:
    item = TrendAccumulator(TrendRules(half_life=timedelta(hours=1), neighbours=4, tracked=4))
    for kind, ts, other in events:
        if kind == "pair":
            item.pair(other, 1.0, ts)
        else:
            getattr(item, kind)(ts)
    return item.snapshot(200 * HOUR)


@given(arrivals, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_change_the_snapshot(events: list[tuple[str, int, ItemKey]], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = counted(events), counted(shuffled)
    for name in ("popularity", "views", "impressions", "clicks"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-30)
    weights = dict(zip(one.neighbours.tolist(), one.weights.tolist(), strict=True))
    others = dict(zip(other.neighbours.tolist(), other.weights.tolist(), strict=True))
    assert weights.keys() == others.keys()
    for key, weight in weights.items():
        assert weight == pytest.approx(others[key], rel=1e-5, abs=1e-30)


@given(arrivals, st.integers(0, 50))
def test_waiting_one_half_life_halves_every_count(events: list[tuple[str, int, ItemKey]], hours: int) -> None:
    item = TrendAccumulator(TrendRules(half_life=timedelta(hours=1)))
    for kind, ts, other in events:
        if kind == "pair":
            item.pair(other, 1.0, ts)
        else:
            getattr(item, kind)(ts)
    at = item.last_ms + hours * HOUR
    now, later = item.snapshot(at), item.snapshot(at + HOUR)
    assert later.popularity == pytest.approx(now.popularity / 2)
    assert later.impressions == pytest.approx(now.impressions / 2)
    assert later.weights.tolist() == pytest.approx((now.weights / 2).tolist())


@given(st.lists(st.floats(0.01, 100.0), min_size=5, max_size=60, unique=True))
def test_pruning_keeps_the_strongest_pair(weights: list[float]) -> None:
    item = TrendAccumulator(RULES)
    for number, weight in enumerate(weights):
        item.pair(ItemKey(number), weight, 0)
    trend = item.snapshot(0)
    assert trend.neighbours[0] == int(np.argmax(weights))
    assert len(item.pairs or {}) <= RULES.tracked


def trend(popularity: float, as_of_ms: int = 0, **counts: float) -> ItemTrend:
    pairs = [(B, 0.5 * popularity), (C, 0.25 * popularity)]
    return ItemTrend(
        as_of_ms=as_of_ms,
        popularity=popularity,
        views=counts.get("views", popularity),
        impressions=counts.get("impressions", 0.0),
        clicks=counts.get("clicks", 0.0),
        neighbours=np.array([key for key, _ in pairs], np.uint64),
        weights=np.array([weight for _, weight in pairs], np.float32),
    )


def test_neighbours_come_strongest_first_as_shares_with_padding_of_zero() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, decode_trend(encode_trend(trend(8.0))))])
    neighbours, shares = columns.neighbours_of(keys(A, G))
    assert neighbours[0, :2].tolist() == [B, C]
    assert shares.tolist() == [[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]]


def test_columns_without_a_single_trend_answer_every_question() -> None:
    columns = TrendColumns(RULES)
    assert columns.neighbours_of(keys(A))[1].tolist() == [[0.0, 0.0, 0.0]]
    assert columns.popularity_of(keys(A), 0).tolist() == [0.0]
    assert columns.views_of(keys(A), 0).tolist() == [0.0]
    assert columns.ctr_of(keys(A)).tolist() == [0.0]
    assert columns.trending(0, 10).tolist() == []


def test_popularity_is_read_as_of_now_whenever_it_was_counted() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0, 0, views=4.0)), (B, trend(3.0, 2 * HOUR))])
    assert columns.popularity_of(keys(A, B, C), 3 * HOUR).tolist() == pytest.approx([1.0, 1.5, 0.0])
    assert columns.views_of(keys(A, B, C), 3 * HOUR).tolist() == pytest.approx([0.5, 1.5, 0.0])


def test_trending_is_ordered_by_popularity_now_and_refreshed_once_a_second() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(8.0, 0)), (B, trend(3.0, 2 * HOUR)), (C, trend(1.0, 2 * HOUR))])
    assert columns.trending(2 * HOUR, 10).tolist() == [B, A, C]
    columns.apply([(C, trend(9.0, 2 * HOUR)), (B, None)])
    assert columns.trending(2 * HOUR + 999, 10).tolist() == [B, A, C]
    assert columns.trending(2 * HOUR + 1000, 2).tolist() == [C, A]


def test_ctr_is_smoothed_towards_the_rate_over_all_items() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(A, trend(1.0, impressions=80.0, clicks=8.0)), (B, trend(1.0, impressions=20.0, clicks=2.0))])
    assert columns.ctr_of(keys(A, B, G)).tolist() == pytest.approx([0.1, 0.1, 0.1])
    columns.apply([(B, trend(1.0, impressions=20.0, clicks=12.0))])
    assert columns.ctr_of(keys(A, B, G)).tolist() == pytest.approx([0.12, 0.4, 0.2])


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
