"""The week's trial: what it plants is known, and what should be told of it is a check."""

from __future__ import annotations

from nextclick.bench.week import FAULTS, POISONED, WEEK
from quality.checks import ADVICE
from replay.sample.faults import fault_of


def test_every_planted_fault_has_a_check_and_a_day_of_its_own() -> None:
    assert {check for _, check, _, _, _ in FAULTS} <= set(ADVICE)
    assert all(fault_of(name).usual_share > 0 for name, _, _, _, _ in FAULTS)
    days = [day for _, _, _, day, _ in FAULTS]
    assert sorted({*days, POISONED}) == list(range(WEEK))
    assert len(days) == len(set(days))
