"""How an outage is told: one line when it begins, one when it is over. It may last, and a log file has no bound."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class Outage:
    """One thing that may be out: tell it of every failure, and of every success. For one thread.

    `what` opens both lines, such as "clicks: "; it may be empty. It is over with the first success, or with the first
    that is `settle_s` after the last failure: for what fails and works in turns, many times a second.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str = "",
        *,
        settle_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._what, self._settle_s, self._clock = log, what, settle_s, clock
        self._began: float | None = None
        self._failed_at = 0.0
        self._why: object = ""
        self.failures = 0
        """Failures of this outage so far; 0 when there is none."""

    @property
    def lasts_s(self) -> float:
        """Seconds since the outage began; 0 when there is none."""
        return 0.0 if self._began is None else self._clock() - self._began

    def failed(self, why: object) -> None:
        """Say so, the first time."""
        self._failed_at = self._clock()
        if self._began is None:
            self._began, self._why = self._failed_at, why
            self._log.warning("%swaiting: %s", self._what, why)
        self.failures += 1

    def over(self) -> None:
        """Say that it is over, if there was one, and how long it took: on a full disk the first line may be lost."""
        if self._began is None or self._clock() - self._failed_at < self._settle_s:
            return
        told = (self._what, self.lasts_s, self.failures, self._why)
        self._log.warning("%sgoing on after %.1f s (failures: %d; the first: %s)", *told)
        self._began, self.failures = None, 0
