"""What pages are like: figures counted by hand, and what holds of any page."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluation.pages import (
    average_precision,
    diversity,
    exposure,
    gini,
    mean_of,
    novelty,
    serendipity,
    total_of,
)
from evaluation.paired import coverage_over, differences, gini_over, mean_over

PAGES = np.array([[0, 1, 2], [3, 0, -1]], np.int32)
WANTED = np.array([[2, 0, -1], [1, -1, -1]], np.int32)
NAN = float("nan")


def test_average_precision_counts_each_hit_at_its_place() -> None:
    # first page: hits at 1 and 3 of two wanted: (1/1 + 2/3) / 2
    assert average_precision(PAGES, WANTED) == pytest.approx([5 / 6, 0.0])
    assert np.isnan(average_precision(PAGES, np.full((2, 1), -1, np.int32))).all()


def test_diversity_is_the_mean_distance_of_pairs_and_passes_over_items_without_vector() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], np.float32)
    # 0-1: 1, 0-2: 2, 1-2: 1
    assert diversity(PAGES, vectors) == pytest.approx([4 / 3, NAN], nan_ok=True)


def test_novelty_is_in_bits_and_an_unseen_item_counts_as_one_click() -> None:
    # of 8 clicks: 4, 2, 1, 0 -> 1
    assert novelty(PAGES, np.array([4, 2, 1, 0])) == pytest.approx([(1 + 2 + 3) / 3, (3 + 1) / 2])


def test_serendipity_takes_off_what_is_popular() -> None:
    expected = np.array([0, 3], np.int32)
    assert serendipity(PAGES, WANTED, expected) == pytest.approx([1 / 3, 0.0])


def test_prices_of_a_page_are_of_items_that_have_one() -> None:
    price = np.array([10.0, NAN, 30.0, NAN])
    assert mean_of(PAGES, price).tolist() == [20.0, 10.0]
    assert total_of(PAGES, PAGES == 2, price).tolist() == [30.0, 0.0]
    assert np.isnan(mean_of(np.array([[1, 3]], np.int32), price)).all()


def test_exposure_counts_items_by_group() -> None:
    assert exposure(PAGES, np.array([0, 1, 1, -1]), 2).tolist() == [[1.0, 2.0], [1.0, 0.0]]


def test_gini_of_alike_is_nothing_and_of_one_alone_is_nearly_one() -> None:
    assert gini(np.array([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 8.0], [1.0, 3.0, 0.0, 0.0]])) == pytest.approx(
        [0.0, 0.75, 0.625]
    )
    assert np.isnan(gini(np.zeros(3)))


@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 10**6)), st.floats(0.1, 100))
def test_gini_lies_between_its_bounds_whatever_the_scale_and_order(shares: np.ndarray, scale: float) -> None:
    found = float(gini(shares))
    if shares.sum() == 0:
        assert np.isnan(found)
        return
    assert -1e-9 <= found <= 1 - 1 / len(shares) + 1e-9
    assert float(gini(shares[::-1] * scale)) == pytest.approx(found, abs=1e-9)


@given(
    arrays.arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-1, 7)),
    st.integers(0, 99),
)
def test_figures_of_a_page_lie_between_their_bounds(pages: np.ndarray, seed: int) -> None:
    pages = np.array([[*dict.fromkeys(page), *[-1] * len(page)][: len(page)] for page in pages.tolist()], np.int32)
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(8, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = np.array([rng.permutation(8)[:3] for _ in pages], np.int32)
    for found, low, high in (
        (average_precision(pages, wanted), 0, 1),
        (serendipity(pages, wanted, np.array([0, 1], np.int32)), 0, 1),
        (diversity(pages, vectors), 0, 2),
        (novelty(pages, rng.integers(0, 9, 8)), 0, 60),
    ):
        known = found[~np.isnan(found)]
        assert (known >= low - 1e-6).all()
        assert (known <= high + 1e-6).all()


def test_a_difference_is_paired_so_what_both_share_widens_nothing() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 100, 400)
    [found] = differences([mean_over(values)], [mean_over(values + 1)], np.arange(400), np.random.default_rng(2))
    assert found.change == pytest.approx((1.0, 1.0, 1.0))
    assert found.is_clear


def test_the_same_seed_gives_the_same_interval_and_no_difference_is_not_clear() -> None:
    values = np.random.default_rng(1).normal(0, 1, 300)
    other = values[::-1].copy()
    one, two = (
        differences([mean_over(values)], [mean_over(other)], np.arange(300) // 3, np.random.default_rng(5))
        for _ in range(2)
    )
    assert one == two
    assert not one[0].is_clear
    assert one[0].change.low < 0 < one[0].change.high


def test_an_interval_holds_the_true_difference_about_95_times_in_100() -> None:
    held, rng = 0, np.random.default_rng(8)
    for _ in range(300):
        old, new = rng.normal(0, 1, (2, 120))
        [found] = differences([mean_over(old)], [mean_over(new)], np.arange(120), rng, resamples=200)
        held += found.change.low <= 0 <= found.change.high
    assert 0.90 <= held / 300 <= 0.98


def test_coverage_and_gini_are_of_all_pages_together() -> None:
    once = np.ones((1, 2))
    assert coverage_over(PAGES, 8)(once).tolist() == [0.5]
    assert coverage_over(PAGES, 8)(np.array([[0.0, 1.0]])).tolist() == [0.25]
    assert gini_over(np.array([[1.0, 0.0], [0.0, 1.0]]))(once).tolist() == [0.0]
    assert np.isnan(gini_over(np.zeros((2, 0)))(once)).all()


def test_what_no_page_has_cannot_be_told() -> None:
    nothing = mean_over(np.full(5, NAN))
    [found] = differences([nothing], [nothing], np.arange(5), np.random.default_rng(1))
    assert np.isnan([found.old, found.new, *found.change]).all()
    assert not found.is_clear
