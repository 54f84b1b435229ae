"""Processes of one flow on this machine: started, started again when they die, and stopped together.

Flows whose state is in Redis need no cluster: their processes exchange nothing. Each is started and started again by
itself, and shares the partitions with those that are there, on any machine (`state.flow_members`).

The trends flow exchanges counts between its processes, so they are a Bytewax cluster, and end with each other: where
one dies, the others cannot go on. So each start is one of all that are this machine's. Those of other machines are
started by the command there; a process waits at its start until all others are there.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from contracts.errors import OutputRefused, StartupError
from contracts.exits import WRONG_SETTING
from contracts.restarts import QUICK_DEATH_S, Fate
from contracts.stopping import Stopping
from nextclick.stack.flow_cluster import Cluster
from nextclick.stack.processes import KILLED, TICK_S
from state.launch import launch
from state.ports import free_port

log = logging.getLogger(__name__)

STOP_S = 8.0
FLOWS = ("sessions", "items", "trends", "profiles", "attribution", "quality")


EXCHANGE = ("trends",)
"""Flows whose processes exchange what they counted: a Bytewax cluster."""
MEMBER = "NEXTCLICK_FLOW__MEMBER"
Leave = Callable[[Sequence[str]], None]
"""Told which of a flow's processes ended, by their names."""


def run_flow(
    flow: str,
    workers: int,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stopping: Stopping,
    *,
    leave: Leave,
    cluster: Cluster | None = None,
) -> int:
    """Run processes of a flow until told to stop: those of a Bytewax cluster, or else so many that share the partitions
    with others. Returns the exit status, as FlowWorkers.
    """
    environment = {name: value for name, value in environment.items() if name != MEMBER}
    if cluster is None and flow in EXCHANGE:
        cluster = Cluster(tuple(f"127.0.0.1:{free_port()}" for _ in range(workers)), range(workers))
    if cluster is not None:
        each = [[*arguments, *place] for place in cluster.arguments]
        elsewhere = len(cluster.addresses) > len(cluster.ours)
        if elsewhere:
            whom = ", ".join(cluster.addresses)
            log.warning("the %s flow counts once all %d processes are there: %s", flow, len(cluster.addresses), whom)
        return FlowWorkers(flow, each, environment, waits_for_others=elsewhere).run(stopping)
    one_by_one = [FlowWorkers(flow, [list(arguments)], environment, leave) for _ in range(workers)]
    return _run_all(one_by_one, stopping)


def _run_all(each: Sequence[FlowWorkers], stopping: Stopping) -> int:
    """Run them side by side; where one refuses its settings, all stop."""

    def run(one: FlowWorkers) -> int:
        try:
            status = one.run(stopping)
        except BaseException:
            stopping.set()
            raise
        if status:
            stopping.set()
        return status

    with ThreadPoolExecutor(len(each), "flow workers") as threads:
        return max(threads.map(run, each))


class FlowWorkers:
    """Runs processes of a flow that end with each other, each with its arguments; what they say goes where this
    process's words go. Those that share partitions with others get a name at each start, and are told to `leave`. Those
    that wait for processes elsewhere say themselves when all are there: living does not tell that they count.
    """

    def __init__(
        self,
        flow: str,
        arguments: Sequence[Sequence[str]],
        environment: Mapping[str, str],
        leave: Leave | None = None,
        *,
        waits_for_others: bool = False,
    ) -> None:
        self._waits_for_others = waits_for_others
        self._flow, self._arguments, self._environment, self._leave = flow, arguments, environment, leave
        self._fate = Fate()
        self._was_well = False
        self._names: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, stopping: Stopping) -> int:
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
        for arguments in self._arguments:
            environment = dict(self._environment)
            if self._leave is not None:
                environment[MEMBER] = f"{socket.gethostname()[:150]}:{os.getpid()}:{secrets.token_hex(4)}"
                self._names.append(environment[MEMBER])
            runner = "flows.run_cluster" if "-i" in arguments else "bytewax.run"
            command = [sys.executable, "-m", runner, f"flows.{self._flow}:flow", *arguments]
            self.processes.append(launch(command, None, env=environment))
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
        count = len(self._arguments)
        which = f"one of {count} processes of " if count > 1 else ""
        log.warning("%sthe %s flow %s; next start in %.1f s", which, self._flow, reason, self._fate.pause_s)

    def _well(self, now_s: float) -> None:
        if self._fate.down_since is not None and not self._waits_for_others:
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
        if self._leave is not None:
            self._leave(self._names)
            self._names = []


def expect_recoverable(flow: str, folder: Path | None) -> None:
    """Raise StartupError for a flow that keeps nothing in a folder, where one is given."""
    if folder is not None and flow not in EXCHANGE:
        raise StartupError(f"--recovery is for the trends flow: the {flow} flow keeps all in Redis, leave it out")


def recovery_of(folder: Path | None, *, is_first: bool = True) -> list[str]:
    """Return the arguments by which the trends flow recovers from a folder, made if need be. Raises StartupError.

    Of several machines the first keeps the whole store: processes elsewhere send it what they count. So another number
    of machines moves no file. The others' folders stay empty.
    """
    if folder is None:
        return []
    from flows.trend_recovery import prepare_empty, prepare_recovery  # loads Bytewax

    try:
        return (prepare_recovery if is_first else prepare_empty)(folder)
    except OutputRefused as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise StartupError(f"the trends flow's recovery store cannot be made in {folder}: {error}") from error
