"""What lists are like: literal values."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.lists import (
    among,
    average_precision,
    coverage,
    gini,
    intra_list_diversity,
    novelty,
    serendipity,
)

VECTORS = np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], np.float32)


def lists(*rows: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.array(rows, np.int32)


def test_items_at_right_angles_differ_by_1_and_opposite_ones_by_2() -> None:
    assert intra_list_diversity(lists([0, 1, -1]), VECTORS) == 1.0
    assert intra_list_diversity(lists([0, 2, -1]), VECTORS) == 2.0
    assert intra_list_diversity(lists([0, 1, 2]), VECTORS) == pytest.approx((1 + 1 + 2) / 3)


def test_lists_with_fewer_than_two_vectors_say_nothing_of_diversity() -> None:
    assert intra_list_diversity(lists([0, 3, -1], [0, 1, -1]), VECTORS) == 1.0
    assert intra_list_diversity(lists([3, -1, -1]), VECTORS) == 0.0


def test_coverage_counts_an_item_once() -> None:
    assert coverage(lists([0, 1], [1, -1]), 8) == 0.25


def test_coverage_of_no_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item, got a size of 0"):
        coverage(lists([0]), 0)


def test_novelty_is_in_bits_and_an_item_without_clicks_counts_as_one_click() -> None:
    clicks = np.array([4, 2, 1, 0], np.int64)
    assert novelty(lists([0]), clicks) == 1.0
    assert novelty(lists([1, 2]), clicks) == 2.5
    assert novelty(lists([3]), clicks) == 3.0
    assert novelty(lists([-1]), clicks) == 0.0


def test_serendipity_is_right_and_not_expected() -> None:
    shown, wanted = lists([5, 6, 7, 8]), lists([5, 6, -1])
    assert serendipity(shown, wanted, lists([5])) == 0.25
    assert serendipity(shown, wanted, lists([-1])) == 0.5


def test_no_item_is_never_among_others() -> None:
    assert among(lists([-1, 2, 3]), lists([-1, 3])).tolist() == [[False, False, True]]


def test_average_precision_counts_each_wanted_item_once() -> None:
    found = average_precision(lists([1, 9, 2], [9, 8, 7]), lists([1, 2, 2], [1, -1, -1]))
    assert found.tolist() == [pytest.approx((1 / 1 + 2 / 3) / 2), 0.0]


def test_gini_of_even_and_of_one_sided_exposure() -> None:
    assert gini(np.array([5, 5, 5, 5])) == 0.0
    assert gini(np.array([0, 0, 0, 8])) == 0.75
    assert gini(np.array([0, 0])) == 0.0
