"""Counts of many items as arrays: held to one item's counters in plain Python, saved and held again, and forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import ItemTrend, decode_trend
from contracts.events import INTEREST, EventCode
from contracts.ids import ItemKey, item_key
from retrieval.trend_counts import TrendArrays, TrendCounts
from retrieval.trend_updates import AFTER, BEFORE, by_shard, updates_of
from retrieval.trends import ClickOrigin, CountedClick, TrendRules
from tests.retrieval.oracle_trends import TrendAccumulator

HOUR = 3_600_000
RULES = TrendRules(half_life=timedelta(hours=1), recent_pace=4, neighbours=3, recent_neighbours=1, tracked=5)
ITEMS = [item_key(f"item-{number}") for number in range(12)]
A, B, C = ITEMS[:3]


class Drawn(NamedTuple):
    """A click of a drawn history."""

    item: int
    ts_ms: int
    code: EventCode
    origin: ClickOrigin
    earlier: list[int]

    @property
    def click(self) -> CountedClick:
        earlier = tuple(ITEMS[at] for at in dict.fromkeys(self.earlier) if at != self.item)
        return CountedClick(self.ts_ms, ITEMS[self.item], f"item-{self.item}", self.code, self.origin, earlier)


CLICKS = st.lists(
    st.builds(
        Drawn,
        st.integers(0, 11),
        st.one_of(st.integers(0, 300 * HOUR), st.sampled_from([0, HOUR, 299 * HOUR])),
        st.sampled_from(sorted(INTEREST)),
        st.sampled_from(ClickOrigin),
        st.lists(st.integers(0, 11), max_size=5),
    ),
    max_size=60,
)


def expected_of(clicks: list[CountedClick], rules: TrendRules, as_of_ms: int) -> dict[ItemKey, ItemTrend]:
    """Return what an accumulator an item counts."""
    items: dict[ItemKey, TrendAccumulator] = {}

    def of(item: ItemKey) -> TrendAccumulator:
        return items.setdefault(item, TrendAccumulator(rules))

    for click in clicks:
        of(click.item).click(click.ts_ms, click.code, origin=click.origin)
        for distance, other in enumerate(click.earlier, 1):
            of(click.item).pair(other, 1.0 / distance, click.ts_ms, after=False)
            of(other).pair(click.item, 1.0 / distance, click.ts_ms, after=True)
    return {item: one.snapshot(as_of_ms) for item, one in items.items()}


def trends_of(rows: TrendArrays) -> dict[ItemKey, ItemTrend]:
    return dict(zip(rows.keys.tolist(), map(decode_trend, rows.encoded()), strict=True))


def assert_alike(found: dict[ItemKey, ItemTrend], expected: dict[ItemKey, ItemTrend]) -> None:
    assert found.keys() == expected.keys()
    for item, trend in expected.items():
        mine = found[item]
        assert (mine.as_of_ms, mine.origin_counts) == (trend.as_of_ms, tuple(map(float, trend.origin_counts)))
        assert mine.counts == pytest.approx(trend.counts, rel=1e-6, abs=1e-30)
        assert mine.neighbours.tolist() == trend.neighbours.tolist()
        np.testing.assert_allclose(mine.weights, trend.weights, rtol=1e-6, atol=1e-30)


@given(CLICKS, st.integers(1, 9), st.integers(0, 300 * HOUR))
@settings(deadline=None)
def test_many_items_at_once_are_counted_as_each_alone(drawn: list[Drawn], together: int, as_of_ms: int) -> None:
    clicks = [one.click for one in drawn]
    counts = TrendCounts(RULES)
    for start in range(0, len(clicks), together):
        counts.apply(updates_of(clicks[start : start + together]))

    assert_alike(trends_of(counts.rows(counts.keys, as_of_ms)), expected_of(clicks, RULES, as_of_ms))


@given(CLICKS, CLICKS)
@settings(deadline=None)
def test_what_was_saved_counts_on_as_if_it_had_never_stopped(before: list[Drawn], after: list[Drawn]) -> None:
    counts = TrendCounts(RULES)
    counts.apply(updates_of([one.click for one in before]))
    saved = counts.saved()
    held = TrendCounts(RULES, saved)
    counts.apply(updates_of([one.click for one in after]))
    unmoved = TrendCounts(RULES, saved).saved()
    held.apply(updates_of([one.click for one in after]))

    for one, other in zip(vars_of(counts.saved()), vars_of(held.saved()), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(vars_of(unmoved), vars_of(saved), strict=True):
        np.testing.assert_array_equal(one, other)


def vars_of(saved: object) -> list[np.ndarray]:
    return [getattr(saved, name) for name in saved.__slots__]  # type: ignore[attr-defined]


def click(item: ItemKey, ts_ms: int, *earlier: ItemKey) -> CountedClick:
    return CountedClick(ts_ms, item, "some", earlier=earlier)


def test_a_click_says_something_of_its_item_and_of_those_before_it_and_nearer_ones_more() -> None:
    cart = CountedClick(7, A, "a", EventCode.CART, ClickOrigin.FORWARD, (B, C))
    assert updates_of([cart]).tolist() == [
        (A, 0b011, 7, 1.0, ClickOrigin.FORWARD),
        (A, B, 7, 1.0, BEFORE),
        (B, A, 7, 1.0, AFTER),
        (A, C, 7, 0.5, BEFORE),
        (C, A, 7, 0.5, AFTER),
    ]
    assert updates_of([click(A, 9)])["other"].tolist() == [0b111]
    assert len(updates_of([])) == 0


def test_updates_are_parted_by_the_first_bits_of_their_items() -> None:
    low, high = ItemKey(5), ItemKey((15 << 60) + 1)
    parts = dict(by_shard(updates_of([click(low, 1, high), click(high, 2)])))

    assert {shard: part["item"].tolist() for shard, part in parts.items()} == {0: [low, low], 15: [high, high]}
    assert dict(by_shard(updates_of([]))) == {}


def test_only_items_that_moved_are_written_again() -> None:
    counts = TrendCounts(RULES)
    counts.apply(updates_of([click(A, 1), click(B, 2)]))
    assert counts.unwritten
    assert counts.changed_rows().keys.tolist() == sorted([A, B])
    assert not counts.unwritten
    assert counts.changed_rows().keys.tolist() == []
    counts.apply(updates_of([click(B, 3)]))
    assert counts.changed_rows().keys.tolist() == [B]


def test_the_first_click_on_an_item_is_told_once_and_a_pair_is_none() -> None:
    counts = TrendCounts(RULES)
    updates = updates_of([click(A, 1, B), click(A, 2), click(B, 3)])

    assert updates[counts.apply(updates)][["item", "ts_ms"]].tolist() == [(A, 1), (B, 3)]
    assert counts.apply(updates).tolist() == []
    assert TrendCounts(RULES, counts.saved()).apply(updates).tolist() == []


def test_quiet_items_are_forgotten_and_others_keep_their_counts_and_pairs() -> None:
    counts = TrendCounts(RULES)
    counts.apply(updates_of([click(A, 1), click(B, 5, C)]))
    assert counts.forget(3).tolist() == []  # not before it is written
    counts.changed_rows()
    assert counts.forget(3).tolist() == [A]
    assert trends_of(counts.rows(np.array([B], np.uint64)))[B].neighbours.tolist() == [C]
    counts.apply(updates_of([click(A, 9)]))
    assert trends_of(counts.changed_rows())[A].popularity == 1.0


def test_pairs_of_many_items_find_room_however_many_there_are() -> None:
    rules, random = TrendRules(tracked=300, neighbours=300), np.random.default_rng(1)
    counts, clicks = TrendCounts(rules), []
    for number in range(700):
        others = random.integers(1, 2**62, 5).tolist()
        clicks.append(click(ItemKey(number % 3), number, *map(ItemKey, others)))
    counts.apply(updates_of(clicks))

    saved = counts.saved()
    assert saved.pair_counts[saved.keys < 3].min() > 150
    assert len(saved.pair_keys) == saved.pair_counts.sum()
    assert_alike(trends_of(counts.rows(saved.keys)), expected_of(clicks, rules, -1))
