"""The hash table from ItemKeys to rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.key_rows import KeyRows

# Few low bits, so that keys fight for slots.
colliding = st.integers(0, 2**64 - 1).map(lambda key: key & 0xFFFF000000000007)
batches = st.lists(st.lists(colliding, unique=True, max_size=40), max_size=6)


@given(batches)
def test_a_key_has_the_row_in_which_it_was_first_added(added: list[list[int]]) -> None:
    table, model = KeyRows(), dict[int, int]()
    for batch in added:
        for key in batch:
            model.setdefault(key, len(model))
        assert table.add(np.array(batch, np.uint64)).tolist() == [model[key] for key in batch]
    assert len(table) == len(model)
    assert table.rows_of(np.array(list(model), np.uint64)).tolist() == list(model.values())


@given(st.sets(colliding, max_size=30), st.sets(colliding, max_size=30))
def test_a_key_that_was_never_added_has_row_minus_one(added: set[int], asked: set[int]) -> None:
    table = KeyRows()
    table.add(np.array(sorted(added), np.uint64))
    absent = sorted(asked - added)
    assert table.rows_of(np.array(absent, np.uint64)).tolist() == [-1] * len(absent)


def test_lookup_keeps_the_shape_of_the_keys() -> None:
    table = KeyRows()
    table.add(np.array([7, 0, 2**64 - 1], np.uint64))
    assert table.rows_of(np.array([[0, 5], [2**64 - 1, 7]], np.uint64)).tolist() == [[1, -1], [2, 0]]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=300))
def test_keys_that_are_removed_are_gone_and_their_rows_are_given_again(steps: list[tuple[bool, int]]) -> None:
    """Low keys share their first slots, so that removing one has others to move back."""
    rows, held = KeyRows(), dict[int, int]()
    for is_added, number in steps:
        key = np.array([number * 8], np.uint64)
        if is_added:
            [held[number * 8]] = rows.add(key).tolist()
        elif number * 8 in held:
            rows.remove(key)
            del held[number * 8]
        assert rows.held == len(held)
    keys = [number * 8 for number in range(41)]
    assert rows.rows_of(np.array(keys, np.uint64)).tolist() == [held.get(key, -1) for key in keys]
    assert len(set(held.values())) == len(held)
    assert len(rows) <= 41
