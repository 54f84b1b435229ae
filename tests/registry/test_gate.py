"""May a candidate serve: not worse is shown, not assumed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.gate import Change, ruling


@pytest.mark.parametrize(
    ("low", "high", "passes", "why"),
    [
        (0.002, 0.010, True, "Better: mrr 0.2000 becomes 0.2060 [+0.0020, +0.0100]."),
        (-0.004, 0.006, True, "As good: mrr 0.2000 becomes 0.2010 [-0.0040, +0.0060]."),
        (-0.010, -0.001, False, "Worse: mrr 0.2000 becomes 0.1945 [-0.0100, -0.0010]."),
        (
            -0.020,
            0.030,
            False,
            "Not shown to be as good: mrr 0.2000 becomes 0.2050 [-0.0200, +0.0300], may lose 0.0040 at most. "
            "Ask more questions (--questions).",
        ),
    ],
)
def test_a_candidate_passes_where_its_interval_lies_above_what_may_be_lost(
    low: float, high: float, passes: bool, why: str
) -> None:
    found = ruling({"mrr": Change(0.2, 0.2 + (low + high) / 2, low, high)}, ("mrr",), 0.02)
    assert (found.passes, found.why) == (passes, why)


def test_every_metric_must_pass() -> None:
    good, bad = Change(0.2, 0.21, 0.005, 0.015), Change(900.0, 800.0, -150.0, -50.0)
    assert ruling({"mrr": good, "hit_price": bad}, ("mrr",), 0.02).passes
    assert not ruling({"mrr": good, "hit_price": bad}, ("mrr", "hit_price"), 0.02).passes


@pytest.mark.parametrize("metrics", [(), ("map",), ("hit_price",)])
def test_a_metric_that_cannot_be_told_is_refused(metrics: tuple[str, ...]) -> None:
    changes = {"mrr": Change(0.2, 0.2, 0.0, 0.0), "hit_price": Change(0.0, 0.0, math.nan, math.nan)}
    with pytest.raises(ValueError, match="expected metrics that this recording can tell, mrr; got"):
        ruling(changes, metrics, 0.02)


@given(st.floats(0.001, 1.0), st.floats(-1.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.5))
def test_what_passes_loses_less_than_it_may(serving: float, low: float, width: float, may_lose: float) -> None:
    found = ruling({"mrr": Change(serving, serving, low, low + width)}, ("mrr",), may_lose)
    assert found.passes == (low >= -may_lose * serving)
