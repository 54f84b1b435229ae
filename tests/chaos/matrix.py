"""The matrix: which faults are done to which log, how often, and during how many events."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos import faults
from tests.chaos.scenario import Scenario

EVERY_KIND = [
    *faults.KILLS,
    *faults.STOPS,
    faults.ALL_WORKERS,
    faults.EVERYTHING,
    faults.CUT,
    faults.MEMORY,
    faults.BROKER,
    faults.CLOCK,
]
"""What may come at any moment of the long run."""


def full(log: str) -> list[Scenario]:
    """Return the whole matrix of one log."""
    found = [
        Scenario("random moments", on(log, EVERY_KIND), moments=100, events=200_000, rate=500.0),
        Scenario("kills", on(log, [*faults.KILLS, faults.ALL_WORKERS, faults.EVERYTHING]), moments=16, events=20_000),
        Scenario("standing still", on(log, faults.STOPS), moments=12, events=20_000),
        Scenario("supervisor", on(log, [faults.SUPERVISOR]), moments=4, events=20_000),
        Scenario("redis's last second", on(log, [faults.CUT]), moments=6, events=20_000),
        Scenario("broker", on(log, [faults.BROKER]), moments=6, events=20_000),
        Scenario("two workers", on(log, faults.SECOND), moments=6, events=20_000),
        Scenario("disk full", on(log, faults.DISK), moments=4, events=10_000, rate=300.0, disk_megabytes=300),
        Scenario("redis full", on(log, [faults.MEMORY]), moments=6, events=20_000),
        Scenario("redis emptied", on(log, [faults.EMPTIED]), moments=3, events=20_000),
        Scenario("clock steps", on(log, [faults.CLOCK]), moments=10, events=20_000),
        Scenario("rescaling", on(log, [faults.RESCALE]), moments=1, events=20_000),
    ]
    return [scenario for scenario in found if scenario.faults]


def brief(log: str) -> Scenario:
    """Return what the test-suite runs: every part is killed, all at once; each alone is for `short`."""
    kinds = [faults.EVERYTHING, faults.STOPS[0], faults.CUT, faults.MEMORY, faults.CLOCK]
    return Scenario("the worst", on(log, kinds), moments=len(on(log, kinds)), events=4_000, rate=500.0)


def short(log: str) -> list[Scenario]:
    """Return what `--short` runs."""
    kinds = [*faults.KILLS, faults.STOPS[0], faults.EVERYTHING, faults.CUT, faults.MEMORY, faults.CLOCK]
    return [Scenario("a bit of everything", on(log, kinds), moments=len(on(log, kinds)), events=8_000, rate=500.0)]


def on(log: str, kinds: Sequence[faults.Fault]) -> list[faults.Fault]:
    """Return the faults that there are for this log."""
    return [fault for fault in kinds if log in fault.logs]
