"""Showings are counted in arrays as one would count them one by one, in any order and in any batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import ShowingBlock, decode_showings, encode_showings
from contracts.ids import ItemKey, item_key
from contracts.plausible import expect_showings
from retrieval.showings import SHARDS, ShowingCounts, Showings, by_shard

HOUR = 3_600_000
ITEMS = [item_key(name) for name in "abcdefgh"]


def counted(showings: list[Showings], half_life_ms: float = HOUR) -> ShowingCounts:
    counts = ShowingCounts(half_life_ms)
    for _, batch in by_shard(showings):
        counts.count(batch)
    return counts


def by_item(counts: ShowingCounts) -> dict[int, tuple[float, float]]:
    block = counts.block()
    return dict(zip(block.keys.tolist(), zip(block.shown.tolist(), block.clicked.tolist(), strict=True), strict=True))


def test_each_item_is_counted_as_of_its_own_newest_event() -> None:
    a, b = ITEMS[:2]
    counts = counted([Showings(0, (a, b)), Showings(HOUR, (a,)), Showings(HOUR, (a,), clicked=True)])
    assert by_item(counts) == {a: (1.5, 1.0), b: (1.0, 0.0)}


def test_items_are_parted_by_the_first_bits_of_their_keys() -> None:
    page = Showings(5, (ItemKey(1), ItemKey((3 << 60) + 1), ItemKey((3 << 60) + 2), ItemKey((15 << 60) + 7)))
    found = {shard: batch.keys.tolist() for shard, batch in by_shard([page])}
    assert found == {0: [1], 3: [(3 << 60) + 1, (3 << 60) + 2], 15: [(15 << 60) + 7]}
    assert SHARDS == 16


def test_an_item_that_was_quiet_for_long_is_forgotten_and_others_stay() -> None:
    a, b = ITEMS[:2]
    counts = counted([Showings(0, (a,)), Showings(9 * HOUR, (b,))])
    counts.forget(5 * HOUR)
    assert by_item(counts) == {b: (1.0, 0.0)}


def test_sums_are_scaled_back_long_before_they_overflow() -> None:
    a = ITEMS[0]
    counts = ShowingCounts(HOUR)
    for hours in range(0, 5000, 50):
        for _, batch in by_shard([Showings(hours * HOUR, (a,))]):
            counts.count(batch)
    assert by_item(counts)[a][0] == pytest.approx(1.0)


def test_a_copy_does_not_move_with_the_counters() -> None:
    counts = counted([Showings(0, (ITEMS[0],))])
    saved = counts.copy()
    for _, batch in by_shard([Showings(0, tuple(ITEMS))]):
        counts.count(batch)
    assert by_item(saved) == {ITEMS[0]: (1.0, 0.0)}


pages = st.lists(
    st.tuples(st.integers(0, 500 * HOUR), st.lists(st.sampled_from(ITEMS), max_size=5), st.booleans()), max_size=30
)


@given(pages, st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_and_batches_make_no_difference(
    story: list[tuple[int, list[ItemKey], bool]], random: object, at_once: int
) -> None:
    showings = [Showings(ts, tuple(items), clicked) for ts, items, clicked in story]
    wanted = {}
    for item in {item for one in showings for item in one.items}:
        mine = [one for one in showings for key in one.items if key == item]
        last = max(one.ts_ms for one in mine)
        wanted[item] = tuple(
            sum(2.0 ** ((one.ts_ms - last) / HOUR) for one in mine if one.clicked is clicked)
            for clicked in (False, True)
        )
    random.shuffle(showings)  # type: ignore[attr-defined]
    counts = ShowingCounts(HOUR)
    for at in range(0, len(showings), at_once):
        for _, batch in by_shard(showings[at : at + at_once]):
            counts.count(batch)
    found = by_item(counts)
    assert found.keys() == wanted.keys()
    for item, pair in wanted.items():
        assert found[item] == pytest.approx(pair, rel=1e-5, abs=1e-30)


def test_a_block_is_read_as_it_was_written_and_damage_is_refused() -> None:
    block = counted([Showings(0, tuple(ITEMS))]).block()
    raw = encode_showings(block)
    read = decode_showings(raw)
    assert (read.keys.tolist(), read.shown.tolist()) == (block.keys.tolist(), [1.0] * 8)
    expect_showings(read)
    for damaged, message in (
        (raw[:-1], "cut short"),
        (raw[:3], "cut short"),
        (b"\x09" + raw[1:], "version 1 at most, got 9"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_showings(damaged)
    twice = ShowingBlock(np.repeat(block.keys, 2), np.ones(16, np.float32), np.ones(16, np.float32))
    with pytest.raises(ValueError, match="once each"):
        expect_showings(twice)
    wrong = ShowingBlock(block.keys, np.full(8, np.nan, np.float32), block.clicked)
    with pytest.raises(ValueError, match="expected counts shown"):
        expect_showings(wrong)
