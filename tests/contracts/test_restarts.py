"""Pauses before a start: none after a long life, growing after quick deaths, and never a last try."""

from __future__ import annotations

import pytest

from contracts.restarts import Fate, pause_s


def test_pauses_grow_to_half_a_minute_and_stay_there() -> None:
    assert [pause_s(deaths) for deaths in range(10)] == [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0]
    assert pause_s(1_000_000) == 30.0


def test_what_was_killed_or_could_not_be_started_waits_a_second_at_most() -> None:
    assert [pause_s(deaths, blameless=True) for deaths in (0, 1, 3, 4, 100)] == [0.0, 0.2, 1.0, 1.0, 1.0]


def test_a_process_that_keeps_dying_is_started_later_each_time() -> None:
    fate, now_s, starts = Fate().started(100.0), 100.0, []
    for _ in range(9):
        now_s += 1.0  # how long it lives
        fate = fate.died(now_s, "died")
        assert fate.next_start is not None
        now_s = fate.next_start
        fate = fate.started(now_s)
        starts.append(round(now_s - 100.0, 3))
    assert starts == [1.2, 2.7, 4.7, 7.7, 13.7, 24.7, 45.7, 76.7, 107.7]
    assert (fate.restarts, fate.quick_deaths, fate.down_since) == (9, 9, 101.0)


@pytest.mark.parametrize(("lived_s", "quick_deaths", "pause"), [(9.9, 4, 2.0), (10.0, 0, 0.0), (3600.0, 0, 0.0)])
def test_a_long_life_forgets_the_deaths_before(lived_s: float, quick_deaths: int, pause: float) -> None:
    fate = Fate(started_at=50.0, quick_deaths=3).died(50.0 + lived_s, "died")
    assert (fate.quick_deaths, fate.pause_s, fate.next_start) == (quick_deaths, pause, 50.0 + lived_s + pause)


def test_an_outage_lasts_from_the_first_death_until_it_runs_well() -> None:
    fate = Fate().started(0.0).died(20.0, "died").started(20.0).died(21.0, "died again")
    fate = fate.not_started(21.2, "no descriptors").started(21.7)
    assert (fate.down_since, fate.outage_starts, fate.restarts, fate.reason) == (20.0, 2, 2, "no descriptors")
    well = fate.well()
    assert (well.down_since, well.outage_starts, well.restarts, well.reason) == (None, 0, 2, "")
    assert well.started_at == 21.7
