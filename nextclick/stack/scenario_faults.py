"""Does to a running stack what a scenario says, when it says so, and notes when it really happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import NextclickError, SettingsError
from eventlog.files import read_raw
from nextclick.stack.client import Client
from nextclick.stack.processes import Child
from nextclick.stack.settings import StackSettings
from nextclick.stack.stack import Stack
from replay.engine.scenario import Fault, Moment, Part, Scenario, most_clicked, timeline
from state.embedded import Answer

BUILD_S = 120.0
REDIS_S = 60.0

Tell = Callable[[str], None]
"""Takes what is being done, for people."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold at the end."""

    name: str
    held: bool
    detail: str


class Faults:
    """Does a scenario's faults from a thread of its own, and undoes what must not outlast the run."""

    def __init__(self, scenario: Scenario, stack: Stack, recording: Path, broker_pid: int | None, tell: Tell) -> None:
        self._moments = timeline(scenario)
        self._stack, self._broker_pid, self._tell = stack, broker_pid, tell
        self._still: dict[int, list[int]] = {}  # fault's number: processes that it holds still
        self._open: dict[int, dict[str, Any]] = {}
        self._building: list[tuple[subprocess.Popen[bytes], dict[str, Any]]] = []
        self._over = threading.Event()
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._do_all, name="faults")
        self._top = self._top_items(scenario, recording)
        self.marks: list[dict[str, Any]] = []
        self.checks: list[Check] = []

    def begin(self, elapsed_s: float) -> None:
        """Start the clock: the run has been going for `elapsed_s`. Only the first call counts."""
        if self._began_s is None:
            self._began_s = time.monotonic() - elapsed_s
            self._thread.start()

    def finish(self) -> None:
        """Wait for what is under way, let go of what is held still, and check that every fault was done."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for number in list(self._still):
            self._let_go(number)
        for building, mark in self._building:
            self.checks.append(_built(building, mark))
        done = len(self.marks)
        planned = len({moment.number for moment in self._moments})
        detail = f"{done} of {planned}" + ("" if done == planned else ": the recording ended before the last one")
        self.checks.append(Check("every fault was done", done == planned, detail))

    def _do_all(self) -> None:
        began_s = self._began_s or 0.0
        for moment in self._moments:
            wait_s = began_s + self._due_s(moment) - time.monotonic()
            if self._over.wait(max(0.0, wait_s)):
                return
            try:
                self._do(moment, time.monotonic() - began_s)
            except Exception as error:  # whatever it is, the faults that follow are still to be done
                reason = str(error) if isinstance(error, NextclickError | OSError) else repr(error)
                self.checks.append(Check(moment.fault.name, False, reason))

    def _due_s(self, moment: Moment) -> float:
        """Return when it is due: what is held still is so for its whole time, however late it was stopped."""
        began = self._open.get(moment.number) if moment.ends else None
        return moment.at_s if began is None else max(moment.at_s, began["at_s"] + (moment.fault.for_s or 0.0))

    def _do(self, moment: Moment, now_s: float) -> None:
        fault = moment.fault
        if moment.ends:
            self._let_go(moment.number)
            self._open[moment.number]["until_s"] = round(now_s, 3)
            self._tell(f"{fault.what} goes on")
            return
        self._tell(fault.name)
        mark: dict[str, Any] = {"at_s": round(now_s, 3), "name": fault.name}
        self.marks.append(mark)
        self._open[moment.number] = mark
        if fault.do == "stop":
            self._still[moment.number] = self._pids(fault)
            for pid in self._still[moment.number]:
                os.kill(pid, signal.SIGSTOP)
        elif fault.do == "stock":
            self._set_stock(fault)
        elif fault.do == "swap":
            self._building.append((self._build_index(), mark))
        else:
            for pid in self._pids(fault):
                os.kill(pid, signal.SIGKILL if fault.do == "kill" else signal.SIGTERM)
                if fault.what in (Part.REDIS, Part.BROKER) and self._broker_is_ours(fault):
                    self._wait_for_redis(pid)
                    mark["until_s"] = round(time.monotonic() - (self._began_s or 0.0), 3)

    def _wait_for_redis(self, killed: int) -> None:
        """Return once the supervisor has started another Redis on the same files, and it answers."""
        redis = self._stack.redis
        assert redis is not None
        until = time.monotonic() + REDIS_S
        while redis.pid == killed or redis.answer(timeout_s=1.0) is not Answer.YES:
            if time.monotonic() > until:
                raise NextclickError(f"expected Redis to be back within {REDIS_S:.0f} s: {self._stack.whose_fault()}")
            time.sleep(0.01)

    def _build_index(self) -> subprocess.Popen[bytes]:
        """Build and publish an index as `nextclick index build` does, in a process of its own."""
        settings = self._stack.running_settings
        typed = ["--folder", settings.index.folder, "--artifacts", settings.artifacts]
        environment = {**os.environ, **self._stack.redis_environment}  # arguments are for all to see
        program = [sys.executable, "-c", "from nextclick.cli import main; main()"]
        with (self._stack.folder / "logs" / "swap.log").open("ab") as log:
            return subprocess.Popen([*program, "index", "build", *typed], env=environment, stdout=log, stderr=log)

    def _let_go(self, number: int) -> None:
        for pid in self._still.pop(number, []):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _pids(self, fault: Fault) -> list[int]:
        """Return the processes that a fault means: of workers and gateways the first."""
        if fault.what in (Part.REDIS, Part.BROKER):
            if self._broker_is_ours(fault):
                assert self._stack.redis is not None
                return [self._stack.redis.pid]
            return [self._broker_pid] if self._broker_pid is not None else []
        child = self._child(str(fault.what))
        return [child.process.pid] if child.process is not None else []

    def _child(self, name: str) -> Child:
        assert self._stack.supervisor is not None
        return next(
            child
            for child in self._stack.supervisor.children
            if child.name == name or (child.name.startswith(f"{name}-") and child.name.endswith("-0"))
        )

    def _broker_is_ours(self, fault: Fault) -> bool:
        return fault.what is Part.REDIS or self._stack.settings.log.kind == "redis"

    def _top_items(self, scenario: Scenario, recording: Path) -> list[str]:
        most = max((fault.top for fault in scenario.fault if fault.do == "stock"), default=0)
        return most_clicked(read_raw(recording), most) if most else []

    def _set_stock(self, fault: Fault) -> None:
        with Client(self._stack.url, key=self._stack.api_key) as client:
            answer = client.set_stock(dict.fromkeys(self._top[: fault.top], fault.stock))
        detail = f"{answer['accepted']} items, {'seen by every answer' if answer['visible'] else 'not yet seen'}"
        self.checks.append(Check(fault.name, bool(answer["visible"]), detail))


def expect_possible(
    scenario: Scenario, settings: StackSettings, broker_pid: int | None, length_s: float | None = None
) -> None:
    """Raise SettingsError for a fault that cannot be done: look before anything starts. `length_s` is the run's."""
    for fault in scenario.fault:
        if fault.what is Part.BROKER and settings.log.kind != "redis":
            if broker_pid is None:
                raise SettingsError(f"{fault.name}: the log is Kafka: name the broker's process with --broker-pid")
            if not Path(f"/proc/{broker_pid}").exists():
                raise SettingsError(
                    f"{fault.name}: expected the broker's process in --broker-pid, got {broker_pid}: "
                    "there is no such process"
                )
        if fault.do == "swap" and not settings.artifacts:
            raise SettingsError(f"{fault.name}: an index needs a trained model: name its folder with --artifacts")
        if length_s is not None and fault.at_s > length_s:
            raise SettingsError(
                f"{fault.name} at {fault.at_s:g} s: the run is over after {length_s:.0f} s: play more events, or slower"
            )


def _built(building: subprocess.Popen[bytes], mark: dict[str, Any]) -> Check:
    """Wait for an index to be built, and say whether it was."""
    try:
        code = building.wait(BUILD_S)
    except subprocess.TimeoutExpired:
        building.kill()
        code = building.wait()
    return Check(mark["name"], code == 0, "published" if code == 0 else f"not built (exit code {code}): see swap.log")
