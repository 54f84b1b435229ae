from __future__ import annotations

import numpy as np
import pytest

from attribution.fallen import Hour, _allowed, compared

STEADY = [Hour(10_000, clicks) for clicks in (500, 510, 490, 505, 495, 508, 492)]


def test_a_rate_that_fell_by_more_than_chance_is_told_from_one_that_did_not() -> None:
    fell, did_not = compared(Hour(10_000, 350), STEADY), compared(Hour(10_000, 470), STEADY)
    assert fell is not None
    assert did_not is not None
    assert (fell.fell, did_not.fell) == (True, False)
    assert (fell.rate, fell.before, round(fell.below, 2)) == (0.035, 0.05, 6.44)


def test_days_that_differ_by_themselves_allow_more() -> None:
    uneven = [Hour(10_000, clicks) for clicks in (300, 700, 350, 650, 500)]
    found = compared(Hour(10_000, 350), uneven)
    assert found is not None
    assert not found.fell


@pytest.mark.parametrize(
    ("hour", "earlier"),
    [(Hour(0, 0), STEADY), (Hour(10, 1), STEADY[:2]), (Hour(10, 1), [Hour(10, 0)] * 5), (Hour(10, 1), [])],
)
def test_nothing_is_said_of_too_little(hour: Hour, earlier: list[Hour]) -> None:
    assert compared(hour, earlier) is None


@pytest.mark.parametrize(("degrees", "quantile"), [(2, 22.327), (4, 7.173), (13, 3.852), (30, 3.385)])
def test_allowed_errors_are_those_of_students_t(degrees: int, quantile: float) -> None:
    assert _allowed(0.001, degrees) == pytest.approx(quantile, rel=0.05)


def test_false_alarms_are_as_rare_as_asked_for_though_days_differ() -> None:
    draw, alarms = np.random.default_rng(3), 0
    for _ in range(4000):
        rates = draw.beta(50, 950, 8)  # days differ by more than clicks do
        hours = [Hour(2000, float(draw.binomial(2000, rate))) for rate in rates]
        found = compared(hours[0], hours[1:], chance=0.01)
        alarms += found is not None and found.fell
    assert 4 <= alarms <= 70
