"""Several processes of one flow, which are one: started, started again when one dies, and stopped together.

Processes of a Bytewax cluster end with each other: where one dies, the others cannot go on. So each start is one of
all, on ports of their own, and what a flow keeps (Redis, a recovery store) says where it goes on.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from contracts.errors import OutputRefused, StartupError
from contracts.exits import WRONG_SETTING
from contracts.restarts import QUICK_DEATH_S, Fate
from nextclick.stack.processes import KILLED, TICK_S
from state.launch import launch
from state.ports import free_port

log = logging.getLogger(__name__)

STOP_S = 8.0
FLOWS = ("sessions", "items", "trends", "profiles", "attribution", "quality")


class FlowWorkers:
    """Runs `count` processes of a flow in the environment given; what they say goes where this process's words go."""

    def __init__(self, flow: str, count: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._flow, self._count, self._arguments, self._environment = flow, count, arguments, environment
        self._fate = Fate()
        self._was_well = False
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, stopping: threading.Event) -> int:
        """Keep them running until told to stop; return the exit status: 0, or WRONG_SETTING of a flow that refuses its
        settings before it ever ran.
        """
        try:
            self._start()
            while not stopping.wait(TICK_S):
                now_s = time.monotonic()
                ended = [code for process in self.processes if (code := process.poll()) is not None]
                if ended:
                    if WRONG_SETTING in ended and not self._was_well:
                        return WRONG_SETTING
                    self._died(ended, now_s)
                elif not self.processes and now_s >= (self._fate.next_start or 0.0):
                    self._start_again()
                elif self.processes and now_s - self._fate.started_at >= QUICK_DEATH_S:
                    self._well(now_s)
            return 0
        finally:
            self._stop()

    def _start(self) -> None:
        addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(self._count))
        for number in range(self._count):
            place = ("-i", str(number), "-a", addresses) if self._count > 1 else ()
            command = [sys.executable, "-m", "bytewax.run", f"flows.{self._flow}:flow", *self._arguments, *place]
            self.processes.append(launch(command, None, env=self._environment))
        self._fate = self._fate.started(time.monotonic())

    def _start_again(self) -> None:
        try:
            self._start()
        except Exception as error:  # no descriptors, no memory: that passes
            self._stop(kill=True)
            self._fate = self._fate.not_started(time.monotonic(), f"cannot be started ({error!r})")
            log.warning("the %s flow %s; next start in %.1f s", self._flow, self._fate.reason, self._fate.pause_s)

    def _died(self, codes: Sequence[int], now_s: float) -> None:
        """End those that are left, and say when all start again. Who was killed, and whose peer was, is not blamed."""
        self._stop(kill=True)
        killed = [code for code in codes if code in KILLED]
        reason = f"was ended by signal {-killed[0]}" if killed else f"died (exit code {codes[0]})"
        self._fate = self._fate.died(now_s, reason, blameless=bool(killed))
        which = f"one of {self._count} processes of " if self._count > 1 else ""
        log.warning("%sthe %s flow %s; next start in %.1f s", which, self._flow, reason, self._fate.pause_s)

    def _well(self, now_s: float) -> None:
        if self._fate.down_since is not None:
            away_s = self._fate.started_at - self._fate.down_since
            log.warning("the %s flow runs again, %.1f s after it went", self._flow, away_s)
        self._was_well, self._fate = True, self._fate.well()

    def _stop(self, *, kill: bool = False) -> None:
        """Stop them all at once, and return when they are gone."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill() if kill else process.terminate()
        until = time.monotonic() + STOP_S
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


def recovery_of(flow: str, folder: Path | None) -> list[str]:
    """Return the arguments by which a flow recovers from a folder, made if it is not there. Raises StartupError."""
    if folder is None:
        return []
    if flow != "trends":
        raise StartupError(f"--recovery is for the trends flow: the {flow} flow keeps all in Redis, leave it out")
    from flows.trend_recovery import prepare_recovery  # loads Bytewax

    try:
        return prepare_recovery(folder)
    except OutputRefused as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise StartupError(f"the trends flow's recovery store cannot be made in {folder}: {error}") from error
