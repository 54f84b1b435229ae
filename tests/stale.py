"""While tests are collected, the clock is an hour slow.

What a module or a list of parameters keeps as "now" is as old as that when its test runs at the end of a long run.
Here it is in every run, of one file too: a test that needs it fresh fails at once, not only where the machine is slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import pytest

HOUR_S = 3600


class SlowClock:
    """A clock of `time` that can be set back by some units. Who imported it meanwhile has the true time afterwards.

    An object, as a function would become a method where a class keeps it.
    """

    def __init__(self, clock: Callable[[], float], behind: int) -> None:
        self._clock = clock
        self.behind = behind

    def __call__(self) -> float:
        return self._clock() - self.behind


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect with slow clocks."""
    slow = {"time": SlowClock(time.time, HOUR_S), "time_ns": SlowClock(time.time_ns, HOUR_S * 10**9)}
    with pytest.MonkeyPatch.context() as patch:
        for name, clock in slow.items():
            patch.setattr(time, name, clock)
        try:
            return (yield)
        finally:
            for clock in slow.values():
                clock.behind = 0
