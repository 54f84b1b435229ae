"""The gateway's worker processes: they share one port, and each is started again when it dies."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Callable

from contracts.exits import WRONG_SETTING
from contracts.restarts import QUICK_DEATH_S, Fate

log = logging.getLogger("nextclick.gateway")

Start = Callable[[], "subprocess.Popen[bytes]"]
"""Starts one worker. Raises OSError when the machine cannot now."""


class Worker:
    """One of them and its successors."""

    def __init__(self, number: int, start: Start) -> None:
        self.fate = Fate(next_start=0.0)
        self.process: subprocess.Popen[bytes] | None = None
        self._number, self._start = number, start

    def look(self, now_s: float) -> None:
        """Note a death, and start it when that is due. Raises nothing."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.fate.next_start is None:
            code = self.process.returncode if self.process is not None else None
            self.fate = self.fate.died(now_s, f"ended with {code}")
            log.error("worker %d ended with %s: starting another in %.1f s", self._number, code, self.fate.pause_s)
        if now_s >= (self.fate.next_start or 0.0):
            self._start_now(now_s)

    def _start_now(self, now_s: float) -> None:
        try:
            self.process = self._start()
            self.fate = self.fate.started(now_s)
        except OSError as error:  # no descriptors, no memory: that passes, and the others serve meanwhile
            before = self.fate
            self.fate = before.not_started(now_s, str(error))
            if self.fate.reason != before.reason:
                log.error("worker %d cannot be started (%s): trying again", self._number, error)

    @property
    def refused(self) -> bool:
        """Tell whether it has just ended because of its settings or artifacts."""
        return self.process is not None and self.process.poll() == WRONG_SETTING

    def lives_long(self, now_s: float) -> bool:
        """Tell whether it has lived long enough to be taken for one that serves."""
        running = self.process is not None and self.process.poll() is None
        return running and now_s - self.fate.started_at >= QUICK_DEATH_S


def keep_running(count: int, start: Start, stopping: Callable[[], bool]) -> int:
    """Keep so many workers running until `stopping`, then end them; returns the exit status.

    Ends early, with WRONG_SETTING, when one refuses its settings before any has served. After that a file may have
    changed under those that serve: they go on.
    """
    workers = [Worker(number, start) for number in range(count)]
    served, refused = False, False
    while not stopping() and not refused:
        now_s = time.monotonic()
        served = served or any(worker.lives_long(now_s) for worker in workers)
        refused = not served and any(worker.refused for worker in workers)
        if not refused:
            for worker in workers:
                worker.look(now_s)
            time.sleep(0.1)
    running = [worker.process for worker in workers if worker.process is not None]
    for process in running:
        process.terminate()
    codes = [process.wait() for process in running]
    if refused:
        return WRONG_SETTING
    # one may not have come up yet
    return max((abs(code) if code != -signal.SIGTERM else 0 for code in codes), default=0)
