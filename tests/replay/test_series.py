from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.measure.series import Series

REQUESTS = st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 5000), st.booleans()), min_size=1, max_size=80)


def series(requests: list[tuple[float, float, bool]]) -> Series:
    due, took, failed = (np.array(column) for column in zip(*requests, strict=True))
    return Series.of(due, took, {"errors": failed})


def test_a_second_counts_what_was_due_in_it() -> None:
    found = series([(0.1, 5.0, False), (0.9, 7.0, True), (2.5, 100.0, False), (2.6, 300.0, False)]).columns(4, "x_")
    assert found["x_count"] == [2, 0, 2, 0]
    assert found["x_errors"] == [1, 0, 0, 0]
    assert found["x_max"][1] is None
    assert found["x_p50"][0] == pytest.approx(5.0, rel=0.005)
    assert found["x_p50"][2] == pytest.approx(100.0, rel=0.005)
    assert [found["x_max"][second] for second in (0, 2)] == pytest.approx([7.0, 300.0], rel=0.005)


@given(REQUESTS)
def test_a_seconds_percentiles_are_those_of_its_requests(requests: list[tuple[float, float, bool]]) -> None:
    found = series(requests).columns(21)
    for second in range(21):
        took = sorted(one[1] for one in requests if int(one[0]) == second)
        assert found["count"][second] == len(took)
        if took:
            assert found["max"][second] == pytest.approx(took[-1], rel=0.005, abs=0.001)
            assert found["p50"][second] == pytest.approx(took[(len(took) + 1) // 2 - 1], rel=0.005, abs=0.001)


@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_merged_series_are_those_of_all_requests(parts: list[list[tuple[float, float, bool]]]) -> None:
    whole = series([one for part in parts for one in part])
    merged = Series.merged([series(part) for part in parts])
    assert merged.seconds == whole.seconds
    assert merged.columns(21) == whole.columns(21)
