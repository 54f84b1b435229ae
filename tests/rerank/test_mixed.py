"""Lists for those of whom nothing is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank.mixed import mixed


def test_two_of_each_category_take_turns() -> None:
    rows, category = np.arange(9, dtype=np.int32), np.array([7, 7, 7, 7, 7, 3, 3, 3, 0], np.int32)
    assert mixed(rows, category).tolist() == [0, 1, 5, 6, 8, 2, 3, 7, 4]


@given(st.lists(st.integers(0, 4), max_size=40))
def test_nothing_is_lost_and_no_category_stands_three_in_a_row_while_there_are_others(codes: list[int]) -> None:
    category = np.array(codes, np.int32)
    order = mixed(np.arange(len(codes), dtype=np.int32), category).tolist()
    assert sorted(order) == list(range(len(codes)))
    for at in range(len(order) - 2):
        if len({codes[row] for row in order[at : at + 3]}) == 1:
            assert len({codes[row] for row in order[at:]}) == 1
    for code in set(codes):
        assert [row for row in order if codes[row] == code] == [row for row, one in enumerate(codes) if one == code]
