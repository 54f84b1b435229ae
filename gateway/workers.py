"""The gateway's worker processes: they share one port, and each is started again when it dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from contracts.exits import WRONG_SETTING
from contracts.restarts import Fate

log = logging.getLogger("nextclick.gateway")

Start = Callable[[], "subprocess.Popen[bytes]"]
"""Starts one worker. Raises OSError when the machine cannot now."""


class Served:
    """Whether any worker has served: each writes a byte into one pipe once it listens."""

    def __init__(self) -> None:
        self._reads, self.pipe = os.pipe()
        for end in (self._reads, self.pipe):
            os.set_blocking(end, False)
        self._any = False

    def __call__(self) -> bool:
        if not self._any:
            with suppress(BlockingIOError):
                self._any = bool(os.read(self._reads, 1))
        return self._any

    def close(self) -> None:
        os.close(self._reads)
        os.close(self.pipe)


def tell_served(pipe: int) -> None:
    """Say to the parent, from a worker, that it listens. Raises nothing: the parent may be gone, or know long since."""
    try:
        with suppress(OSError):
            os.write(pipe, b"1")
    finally:
        os.close(pipe)


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


def keep_running(count: int, start: Start, stopping: Callable[[], bool], served: Callable[[], bool]) -> int:
    """Keep so many workers running until `stopping`, then end them; returns the exit status.

    Ends early, with WRONG_SETTING, when one refuses its settings before any has `served`, however long that takes.
    After that a file may have changed under those that serve: they go on.
    """
    workers = [Worker(number, start) for number in range(count)]
    refused = False
    while not stopping() and not refused:
        refused = any(worker.refused for worker in workers) and not served()
        if not refused:
            for worker in workers:
                worker.look(time.monotonic())
            time.sleep(0.1)
    running = [worker.process for worker in workers if worker.process is not None]
    for process in running:
        process.terminate()
    codes = [process.wait() for process in running]
    if refused:
        return WRONG_SETTING
    # one may not have come up yet
    return max((abs(code) if code != -signal.SIGTERM else 0 for code in codes), default=0)
