"""Waiting for company: never alone, never for more than is worth it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.gathering import Gathering, pause_s


def test_who_would_wait_in_vain_does_not_wait() -> None:
    assert pause_s(100, 0.01) == 0.0  # one comes in 10 ms


def test_what_comes_often_is_waited_for_as_long_as_is_allowed() -> None:
    assert pause_s(500, 0.01) == 0.01  # five come


def test_what_comes_very_often_is_waited_for_until_enough_have_come() -> None:
    assert pause_s(4000, 0.01) == 0.004  # sixteen come


def test_where_no_waiting_is_allowed_there_is_none() -> None:
    assert pause_s(1e6, 0.0) == 0.0


@given(st.floats(0, 1e9), st.floats(0, 10))
def test_a_pause_brings_two_at_least_and_sixteen_at_most(rate: float, longest_s: float) -> None:
    pause = pause_s(rate, longest_s)
    assert pause == 0.0 or (pause <= longest_s and rate * pause * (1 + 1e-9) >= 2.0 and rate * pause <= 16.000001)


def test_the_first_after_a_silence_does_not_wait() -> None:
    gathering = Gathering(0.01)
    gathering.came(1, 100.0)
    assert gathering.pause_s(100.0) == 0.0


def test_a_steady_stream_is_waited_for_and_forgotten_when_it_ends() -> None:
    gathering = Gathering(0.01)
    for number in range(500):
        gathering.came(1, number * 0.002)
    assert gathering.pause_s(1.0) == 0.01
    assert gathering.pause_s(1.5) == 0.0


def test_records_of_one_array_count_each() -> None:
    gathering = Gathering(0.01)
    gathering.came(500, 0.0)
    assert gathering.pause_s(0.0) == pytest.approx(0.0032)  # 5,000 a second, as far as it knows
