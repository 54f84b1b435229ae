from __future__ import annotations

from math import ceil

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.measure.histogram import BUCKETS, Histogram, bucket_of, middle_of

MILLISECONDS = st.floats(min_value=1e-4, max_value=6e7, allow_nan=False)
SAMPLES = st.lists(MILLISECONDS, min_size=1, max_size=300)


def nearest_rank(values: list[float], percent: float) -> float:
    """The definition, on sorted values."""
    return sorted(values)[max(1, ceil(round(percent / 100 * len(values), 9))) - 1]


@given(SAMPLES, st.floats(min_value=0, max_value=100))
def test_every_percentile_is_within_one_percent_of_the_sorted_values(values: list[float], percent: float) -> None:
    exact = nearest_rank(values, percent)
    assert abs(Histogram.of(np.array(values)).percentile(percent) - exact) <= 0.01 * exact


@given(st.lists(SAMPLES, min_size=1, max_size=6), st.randoms())
def test_merging_parts_in_any_order_is_the_same_as_counting_everything_at_once(
    parts: list[list[float]], choose: object
) -> None:
    whole = Histogram.of(np.array([value for part in parts for value in part]))
    counted = [Histogram.of(np.array(part)) for part in parts]
    assert hasattr(choose, "shuffle")
    choose.shuffle(counted)
    assert Histogram.merged(counted).as_json() == whole.as_json()


@given(SAMPLES)
def test_a_histogram_survives_json(values: list[float]) -> None:
    histogram = Histogram.of(np.array(values))
    found = orjson.loads(orjson.dumps(histogram.as_json()))
    counts = np.zeros(BUCKETS, np.int64)
    counts[np.array(found["buckets"], dtype=np.int64)] = found["counts"]
    again = Histogram(counts, found["min"], found["max"], found["total_ns"])
    assert again.as_json() == histogram.as_json()
    assert again.percentiles() == histogram.percentiles()


def test_ten_thousand_waits_have_the_percentiles_that_they_have() -> None:
    at = Histogram.of(np.arange(1, 10_001) / 10).percentiles()
    assert (at.count, at.mean, at.max) == (10_000, 500.05, 1000.0)
    assert [at.p50, at.p90, at.p95, at.p99, at.p999] == pytest.approx([500, 900, 950, 990, 999], rel=0.004)


def test_one_value_is_told_exactly() -> None:
    at = Histogram.of(np.array([1.5] * 7)).percentiles()
    assert (at.p50, at.p999, at.mean, at.max) == (1.5, 1.5, 1.5, 1.5)


def test_nothing_measured_is_zeros_and_merges_with_anything() -> None:
    nothing, something = Histogram.of(np.array([])), Histogram.of(np.array([2.0, 3.0]))
    assert nothing.percentiles().p99 == 0.0
    assert Histogram.merged([nothing, something]).as_json() == something.as_json()
    assert Histogram.merged([]).count == 0


def test_buckets_rise_with_the_value_and_stand_for_a_value_inside() -> None:
    values = np.geomspace(1e-4, 6e7, 50_000)
    buckets = bucket_of(values)
    assert (np.diff(buckets) >= 0).all()
    assert (bucket_of(middle_of(np.arange(BUCKETS))) == np.arange(BUCKETS)).all()


def test_a_measurement_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Histogram.of(np.array([1.0, float("nan")]))
    with pytest.raises(ValueError, match="0 to 100"):
        Histogram.of(np.array([1.0])).percentile(101)
