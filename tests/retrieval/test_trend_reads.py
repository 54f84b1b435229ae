"""What is read of trends by row is what the plain twin says, at one instant and at one for every row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import TREND_COUNTS, ItemTrend, ShowingBlock
from contracts.ids import ItemKey
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules

NOW = 1_800_000_000_000
RULES = TrendRules()
COUNTS = st.sampled_from([0.0, 0.5, 3.0, 1e6])
TREND = st.tuples(st.integers(NOW - 10**9, NOW), st.tuples(*[COUNTS] * len(TREND_COUNTS)), st.tuples(*[COUNTS] * 4))


@given(
    st.dictionaries(st.integers(1, 30), TREND),
    st.lists(st.tuples(st.integers(0, 32), st.integers(NOW, NOW + 10**9)), max_size=20),
)
def test_reads_by_row_are_those_of_the_plain_twin(
    items: dict[int, tuple[int, tuple[float, ...], tuple[float, float, float, float]]], asked: list[tuple[int, int]]
) -> None:
    trends = {
        key: ItemTrend(
            as_of_ms=as_of,
            **dict(zip(TREND_COUNTS, counts, strict=True)),
            neighbours=np.zeros(0, np.uint64),
            weights=np.zeros((0, 3), np.float32),
            origin_counts=origins,
        )
        for key, (as_of, counts, origins) in items.items()
    }
    held = TrendColumns()
    held.apply((ItemKey(key), trend) for key, trend in trends.items())
    rows = held.rows_of(np.array([key for key, _ in asked], np.uint64))
    moments = np.array([now for _, now in asked], np.int64)
    for now_ms in (moments, NOW):
        found = {
            "popularity": held.popularity_at(rows, now_ms),
            "recent": held.recent_at(rows, now_ms),
            **{f"{name} counted": held.counts_at(name, rows, now_ms) for name in TREND_COUNTS},
        }
        for at, (key, _) in enumerate(asked):
            for name, column in found.items():
                what, pace = name.split()[0], RULES.recent_half_life_ms if "recent" in name else RULES.half_life_ms
                told = trends.get(key)
                age = 0 if told is None else int(np.broadcast_to(now_ms, len(asked))[at]) - told.as_of_ms
                expected = 0.0 if told is None else getattr(told, what) * 0.5 ** (age / pace)
                assert column[at] == pytest.approx(expected, rel=1e-5), name
    origins = held.origin_counts_at(rows)
    for at, (key, _) in enumerate(asked):
        told = trends.get(key)
        assert origins[at].tolist() == list((0.0,) * 4 if told is None else told.origin_counts)


@given(
    st.dictionaries(st.integers(1, 30), st.tuples(st.integers(0, 1000), st.floats(0, 1)), max_size=20),
    st.lists(st.integers(0, 32), max_size=20),
)
def test_click_rates_are_those_of_the_plain_twin(items: dict[int, tuple[int, float]], asked: list[int]) -> None:
    shown = np.array([times for times, _ in items.values()], np.float32)
    clicked = np.array([times * share for times, share in items.values()], np.float32)
    held = TrendColumns()
    held.apply_showings([(0, ShowingBlock(np.array(list(items), np.uint64), shown, clicked))])
    overall = clicked.sum() / shown.sum() if shown.sum() > 1 else 0.0
    told = {key: (clicked[at] + 20 * overall) / (shown[at] + 20) for at, key in enumerate(items)}
    expected = [told.get(key, overall) for key in asked]
    np.testing.assert_allclose(held.ctr_of(np.array(asked, np.uint64)), expected, rtol=1e-5, atol=1e-7)
