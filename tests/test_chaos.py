"""A short chaos: every part is killed under traffic, and nothing is lost, counted twice or different afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.matrix import short
from tests.chaos.scenario import run_scenario


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    [scenario] = short("redis")

    outcome = run_scenario(scenario, tmp_path, seed=1, broker=None)

    assert (outcome.lost, outcome.twice, outcome.wrong) == (0, 0, [])
    assert len(outcome.moments) == len(scenario.faults) == 13
    assert outcome.events > 8000
