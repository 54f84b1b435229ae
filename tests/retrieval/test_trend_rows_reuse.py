"""Columns of trends do not grow by items that come and go: the row of one that went is the next one's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import ItemTrend, ShowingBlock
from contracts.ids import ItemKey
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules

RULES = TrendRules(neighbours=2, recent_neighbours=1)
NOW = 1_700_000_000_000


def trend(clicks: float, *neighbours: int) -> ItemTrend:
    weights = np.ones((len(neighbours), 3), np.float32)
    keys, origins = np.array(neighbours, np.uint64), (clicks, 0.0, 0.0, 0.0)
    return ItemTrend(NOW, clicks, clicks, clicks, keys, weights, origins)


def block(*keys: int) -> ShowingBlock:
    ones = np.ones(len(keys), np.float32)
    return ShowingBlock(np.array(sorted(keys), np.uint64), ones * 4, ones)


def test_a_hundred_thousand_items_that_come_and_go_take_the_room_of_those_there_at_once() -> None:
    columns = TrendColumns(RULES)
    for first in range(1, 100_000, 1000):
        columns.apply([(ItemKey(key), trend(1.0, 7)) for key in range(first, first + 1000)])
        columns.apply([(ItemKey(key), None) for key in range(first, first + 1000)])
    assert len(columns) == 0
    assert len(columns.heat) == 1024
    assert columns.transitions_per_item == 0.0


def test_nothing_of_the_item_before_is_left_in_a_row() -> None:
    columns = TrendColumns(RULES)
    columns.apply([(ItemKey(1), trend(9.0, 5, 6))])
    [row] = columns.rows_of(np.array([1], np.uint64))
    columns.apply([(ItemKey(1), None)])
    columns.apply_showings([(0, block(2))])
    assert columns.rows_of(np.array([1, 2], np.uint64)).tolist() == [-1, row]
    keys = np.array([2], np.uint64)
    assert columns.popularity_of(keys, NOW).tolist() == columns.views_of(keys, NOW).tolist() == [0.0]
    assert columns.neighbours_of(keys)[0].tolist() == [[0, 0]]
    assert columns.shown_at(columns.rows_of(keys)).tolist() == [[4.0, 1.0]]


def test_an_item_that_is_shown_keeps_its_row_when_its_trends_go_and_the_other_way_round() -> None:
    columns, keys = TrendColumns(RULES), np.array([1, 2], np.uint64)
    columns.apply([(ItemKey(1), trend(1.0)), (ItemKey(2), trend(1.0))])
    columns.apply_showings([(0, block(1, 2))])
    columns.apply([(ItemKey(1), None)])
    assert (len(columns), columns.held()) == (2, [2])
    assert columns.shown_at(columns.rows_of(keys)).tolist() == [[4.0, 1.0]] * 2
    columns.apply_showings([(0, block())])
    assert columns.rows_of(keys).tolist() == [-1, 1]
    assert columns.popularity_of(keys, NOW).tolist() == [0.0, 1.0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("trend"), st.integers(1, 12), st.sampled_from([0.0, 1.0, 2.0])),
        st.tuples(st.just("gone"), st.integers(1, 12), st.just(0.0)),
        st.tuples(st.just("block"), st.integers(0, 4095), st.just(0.0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_comes_and_goes_each_item_says_what_it_said_last(steps: list[tuple[str, int, float]]) -> None:
    columns, trends, shown = TrendColumns(RULES), dict[int, float](), set[int]()
    for what, number, clicks in steps:
        if what == "block":
            shown = {bit + 1 for bit in range(12) if number >> bit & 1}
            columns.apply_showings([(0, block(*shown))])
        elif what == "gone":
            columns.apply([(ItemKey(number), None)])
            trends.pop(number, None)
        else:
            columns.apply([(ItemKey(number), trend(clicks, number + 100))])
            trends[number] = clicks
    keys = np.arange(1, 13, dtype=np.uint64)
    assert columns.popularity_of(keys, NOW).tolist() == [trends.get(int(key), 0.0) for key in keys]
    neighbours, shares = columns.neighbours_of(keys)
    firsts = np.where(shares[:, 0, 0] > 0, neighbours[:, 0], 0).tolist()
    assert firsts == [int(key) + 100 if int(key) in trends else 0 for key in keys]
    shown_at = columns.shown_at(columns.rows_of(keys))[:, 0].tolist()
    assert shown_at == [4.0 if int(key) in shown else 0.0 for key in keys]
    assert sorted(columns.keys.tolist()) == sorted(trends.keys() | shown)
    assert len(columns) == len(trends.keys() | shown)
    assert columns.trending(NOW, 500).tolist() == sorted(
        (key for key, clicks in trends.items() if clicks),
        key=lambda key: (-trends[key], columns.rows_of(np.array([key], np.uint64))[0]),
    )
