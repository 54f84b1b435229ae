"""A short chaos: every part is killed under traffic, and nothing is lost, counted twice or different afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.matrix import brief, short
from tests.chaos.scenario import Scenario, run_scenario


@pytest.mark.slow
def test_whatever_happens_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    expect_nothing_lost(brief("redis"), tmp_path, kinds=5)


@pytest.mark.long
@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    [scenario] = short("redis")
    expect_nothing_lost(scenario, tmp_path, kinds=13)


def expect_nothing_lost(scenario: Scenario, folder: Path, kinds: int) -> None:
    outcome = run_scenario(scenario, folder, seed=1, broker=None)

    assert (outcome.lost, outcome.twice, outcome.wrong) == (0, 0, [])
    assert len(outcome.moments) == len(scenario.faults) == kinds
    assert outcome.events > scenario.events
