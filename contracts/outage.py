"""How an outage is told: one line when it begins, one when it is over. It may last, and a log file has no bound."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Told(Protocol):
    """What is told of every failure, and of every success."""

    def failed(self, why: object) -> None: ...
    def over(self) -> None: ...


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


class SharedOutage:
    """One thing that several parts of a process meet, each of which goes on trying: one line when the first of them
    fails, one when none fails any more. For any threads.
    """

    def __init__(self, log: logging.Logger, what: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._outage = Outage(log, what, clock=clock)
        self._out: set[OutagePart] = set()
        self._turn = threading.Lock()
        self.failures = 0
        """Failures of any part, ever."""

    @property
    def lasts(self) -> bool:
        """Whether any part fails now."""
        return bool(self._out)

    def part(self) -> OutagePart:
        """Return what one part tells of. One that tries no more must say that it is over."""
        return OutagePart(self)

    def doubted(self) -> None:
        """Count a failure that is not said: of a connection that was lost, and is tried again at once."""
        with self._turn:
            self.failures += 1

    def failed(self, part: OutagePart, why: object) -> None:
        with self._turn:
            self._out.add(part)
            self.failures += 1
            self._outage.failed(why)

    def over(self, part: OutagePart) -> None:
        with self._turn:
            self._out.discard(part)
            if not self._out:
                self._outage.over()


class OutagePart:
    """One part's view of a shared outage."""

    __slots__ = ("_fails", "_shared")

    def __init__(self, shared: SharedOutage) -> None:
        self._shared, self._fails = shared, False

    def failed(self, why: object) -> None:
        """Say so, if no other part has."""
        self._fails = True
        self._shared.failed(self, why)

    def over(self) -> None:
        """Say that it is over, if no other part still fails."""
        if self._fails:
            self._fails = False
            self._shared.over(self)
