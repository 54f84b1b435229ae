"""Jobs that come again and again, in one thread: each has its own pace, and none that fails ends the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.errors import NextclickError
from contracts.left_out import reason_of
from contracts.outage import Outage
from judge.figures import ran

log = logging.getLogger("nextclick.judge")

RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """`run` is called every `every_s` seconds, from begin to begin; later where it takes longer."""

    name: str
    every_s: float
    run: Callable[[], None]


class Ticker:
    """Runs jobs when they are due. Time comes in, and goes out as how long to wait."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._due = [0.0] * len(jobs)
        self._outages = [Outage(log, f"{job.name}: ") for job in jobs]

    def run_due(self, clock: Callable[[], float]) -> float:
        """Run what is due, the most overdue first; returns for how many seconds nothing is."""
        for at in sorted(range(len(self._jobs)), key=self._due.__getitem__):
            begun = clock()
            if begun < self._due[at]:
                continue
            went_well = self._ran(at)
            ran(self._jobs[at].name, clock() - begun, well=went_well)
            if went_well:
                self._due[at] = max(begun + self._jobs[at].every_s, clock())
            else:
                pause_s = min(RETRY_S * 2.0 ** min(self._outages[at].failures - 1, 10), LONGEST_RETRY_S)
                self._due[at] = clock() + max(self._jobs[at].every_s, pause_s)
        return max(0.0, min(self._due, default=clock() + LONGEST_RETRY_S) - clock())

    def _ran(self, at: int) -> bool:
        outage = self._outages[at]
        try:
            self._jobs[at].run()
        except (NextclickError, OSError) as error:
            outage.failed(error)
            return False
        except Exception as error:  # ending would only mean starting again; the traceback is said once
            if not outage.failures:
                log.error("%s: %s", self._jobs[at].name, reason_of(error), exc_info=error)
            outage.failed(reason_of(error))
            return False
        outage.over()
        return True


def run_for_ever(jobs: Sequence[Job], clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Run jobs until the process is killed: it may be at any time."""
    ticker = Ticker(jobs)
    while True:
        sleep(ticker.run_due(clock))
