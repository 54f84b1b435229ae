"""Drift of features: what the two distances say, and what a baseline keeps."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rerank.drift import Baseline, Counted, ks, parts_of, psi


def test_the_distances_are_those_of_the_books() -> None:
    then, now = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    assert psi(then, now) == pytest.approx(2 * 0.3 * np.log(2.5))
    assert ks(then, now) == pytest.approx(0.3)
    assert psi(then, then) == ks(then, then) == 0.0


def test_a_part_that_nobody_was_in_before_does_not_make_the_index_endless() -> None:
    assert psi(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(4.605, abs=0.01)


def test_missing_values_are_a_part_of_their_own() -> None:
    column = np.array([np.nan, 0.0, 1.0, 2.0, np.nan], np.float32)
    assert parts_of(column, np.array([0.0, 1.0])).tolist() == [2, 1, 1, 1]


def test_rows_like_those_learnt_from_do_not_drift_and_others_do() -> None:
    rng = np.random.default_rng(1)
    learnt = np.column_stack([rng.normal(size=20_000), rng.integers(0, 2, 20_000)]).astype(np.float32)
    baseline = Baseline.of(["age", "new"], learnt)
    same, moved = Counted(baseline), Counted(baseline)
    for _ in range(200):
        rows = np.column_stack([rng.normal(size=100), rng.integers(0, 2, 100)]).astype(np.float32)
        same.count(rows)
        rows[:, 0] += 1
        moved.count(rows)
    assert [drift.psi < 0.01 for drift in same.drifts()] == [True, True]
    assert [(drift.name, drift.psi > 0.25, drift.ks > 0.3) for drift in moved.drifts()] == [
        ("age", True, True),
        ("new", False, False),
    ]


def test_a_feature_that_was_constant_drifts_once_it_is_not() -> None:
    counted = Counted(Baseline.of(["x"], np.ones((1000, 1), np.float32)))
    counted.count(np.ones((98, 1), np.float32))
    assert counted.drifts()[0].psi == 0.0
    counted.count(np.array([[0.5], [2.0]], np.float32))
    assert counted.drifts()[0].psi == pytest.approx(0.092, abs=0.001)
    assert counted.drifts()[0].ks == pytest.approx(0.01)


@given(arrays(np.float32, (30, 2), elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))))
def test_what_a_baseline_learnt_from_has_not_drifted_after_it_was_written_and_read(rows: np.ndarray) -> None:
    baseline = Baseline.of(["a", "b"], rows)
    again = Baseline.from_json(orjson.loads(orjson.dumps(baseline.as_json())))
    counted = Counted(again)
    counted.count(rows)
    assert [round(drift.psi, 3) for drift in counted.drifts()] == [0.0, 0.0]


@pytest.mark.parametrize(
    "document",
    [
        {},
        7,
        [{"name": "a"}],
        [{"name": "a", "edges": [2, 1], "shares": [0, 0, 0, 1]}],
        [{"name": "a", "edges": [1], "shares": [1]}],
    ],
)
def test_what_is_no_baseline_is_refused(document: object) -> None:
    if document == {}:
        assert Baseline.from_json(document).names == ()
        return
    with pytest.raises(ValueError, match="expected"):
        Baseline.from_json(document)
