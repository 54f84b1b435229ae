"""Moments add up: days, hours and processes may each keep their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.moments import Moments

TABLE = np.array([[1.0, 2.0], [2.0, 2.0], [6.0, 5.0]])


def test_moments_are_counts_means_and_sample_covariances() -> None:
    found = Moments.of(TABLE)
    assert found.count == 3.0
    assert found.mean.tolist() == [3.0, 3.0]
    assert found.covariance.tolist() == [[7.0, 4.5], [4.5, 3.0]]


def test_sums_of_squares_say_the_same_as_the_units() -> None:
    found = Moments.from_sums(3, 9.0, 41.0)
    assert found.mean.tolist() == [3.0]
    assert found.covariance.tolist() == [[7.0]]


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=4, max_size=30),
    st.integers(1, 3),
)
def test_parts_add_up_to_the_whole(rows: list[list[float]], cut: int) -> None:
    whole, parts = np.array(rows), Moments.of(rows[:cut]) + Moments.of(rows[cut:])
    assert parts.count == len(rows)
    np.testing.assert_allclose(parts.mean, whole.mean(axis=0), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(parts.covariance, np.cov(whole.T), rtol=1e-6, atol=1e-3)


def test_large_numbers_keep_their_digits() -> None:
    found = Moments.of([1e9, 1e9 + 1]) + Moments.of([1e9 + 2])
    assert found.covariance.tolist() == [[1.0]]


def test_one_unit_has_no_variance() -> None:
    assert np.isnan(Moments.of([5.0]).covariance).all()


def test_no_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one unit, got none"):
        Moments.of([])
