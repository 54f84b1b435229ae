"""Runs a scenario: a stack of its own, a recording played into it, faults done in time, the outcome counted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from contracts.errors import LogUnavailable, NextclickError, StateUnavailable
from eventlog.files import read_items, read_raw
from nextclick.client import Client
from nextclick.load_items import load_items
from nextclick.processes import Child
from nextclick.progress import read_progress, totals
from nextclick.settings import StackOptions, StackSettings
from nextclick.stack import Stack
from replay.options import PlayOptions
from replay.play import Snapshot
from replay.result import PlayResult
from replay.run import play_recording
from replay.scenario import Fault, Moment, Part, Scenario, most_clicked, timeline

CATCH_UP_S = 120.0
FROM_CLICKS = "NEXTCLICK_TREND__CATALOGUE_FROM_CLICKS"

Told = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a scenario runs: `folder` takes the stack's files, `items` is loaded into the catalogue first,
    `broker_pid` is the process of a Kafka broker, which the stack does not start itself.
    """

    folder: Path
    items: Path | None = None
    artifacts: str = ""
    broker_pid: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold at the end."""

    name: str
    held: bool
    detail: str


@dataclass(slots=True)
class ScenarioResult:
    """What came of it. `marks` say when what was done, as it really happened."""

    scenario: str
    played: PlayResult
    marks: list[dict[str, Any]]
    checks: list[Check]

    @property
    def held(self) -> bool:
        return not self.played.lost and all(check.held for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return the run's result, and beside it the scenario's name, the marks and the checks."""
        checks = [{"name": one.name, "held": one.held, "detail": one.detail} for one in self.checks]
        return {**self.played.as_json(), "scenario": self.scenario, "marks": self.marks, "checks": checks}


def run_scenario(
    scenario: Scenario,
    options: PlayOptions,
    surroundings: Surroundings,
    *,
    told: Told = lambda text: None,
    progress: Callable[[Snapshot], None] = lambda now: None,
) -> ScenarioResult:
    """Run it and return what came of it. Raises StartupError when the stack does not come up, SettingsError for a fault
    that cannot be done here.
    """
    base, plan = StackSettings(), scenario.stack
    chosen = {"port": 0, "folder": surroundings.folder, "embedded_redis": True}
    chosen |= {"gateways": plan.gateways, "session_workers": plan.session_workers}
    stack_options = StackOptions.model_validate({**base.stack.model_dump(), **chosen})
    artifacts = surroundings.artifacts or base.artifacts
    settings = base.model_copy(update={"stack": stack_options, "artifacts": artifacts})
    with _environment(FROM_CLICKS, str(plan.catalogue_from_clicks and surroundings.items is None).lower()):
        stack = Stack(settings)
        stack.start(told)
        doing: Faults | None = None
        try:
            if surroundings.items is not None:
                told("loading the catalogue")
                _load_items(stack, surroundings.items)
            doing = Faults(scenario, stack, options.recording, surroundings.broker_pid, told)
            played = _play(replace(options, url=stack.url), stack, doing, progress)
            told("waiting for the session path")
            checks = [*doing.checks, _nothing_lost(played, options.recording, _counted(stack), options.events)]
            return ScenarioResult(scenario.name, played, doing.marks, checks)
        finally:
            stack.stop()
            if doing is not None:
                doing.close()


def _play(options: PlayOptions, stack: Stack, doing: Faults, progress: Callable[[Snapshot], None]) -> PlayResult:
    def on_progress(now: Snapshot) -> None:
        doing.begin(now.elapsed_s)
        progress(now)

    try:
        return uvloop.run(play_recording(options, stack.running_settings, progress=on_progress))
    finally:
        doing.finish()


class Faults:
    """Does a scenario's faults from a thread of its own, and undoes what must not outlast the run."""

    def __init__(self, scenario: Scenario, stack: Stack, recording: Path, broker_pid: int | None, told: Told) -> None:
        self._moments = timeline(scenario)
        self._stack, self._broker_pid, self._told = stack, broker_pid, told
        self._still: dict[int, list[int]] = {}  # fault's number: processes that it holds still
        self._open: dict[int, dict[str, Any]] = {}
        self._over, self._done, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="faults")
        self._top = self._top_items(scenario, recording)
        for fault in scenario.fault:
            self._expect_possible(fault)
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
            self._done.wait()
        for number in list(self._still):
            self._let_go(number)
        done = len(self.marks)
        planned = len({moment.number for moment in self._moments})
        detail = f"{done} of {planned}" + ("" if done == planned else ": the recording ended before the last one")
        self.checks.append(Check("every fault was done", done == planned, detail))

    def close(self) -> None:
        """End the thread, once the stack is stopped: the kernel ends what a thread has started (a Redis) with it."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._do_all()
        finally:
            self._done.set()
            self._closed.wait()

    def _do_all(self) -> None:
        began_s = self._began_s or 0.0
        for moment in self._moments:
            wait_s = began_s + moment.at_s - time.monotonic()
            if self._over.wait(max(0.0, wait_s)):
                return
            try:
                self._do(moment, time.monotonic() - began_s)
            except (NextclickError, OSError) as error:
                self.checks.append(Check(moment.fault.name, False, str(error)))

    def _do(self, moment: Moment, now_s: float) -> None:
        fault = moment.fault
        if moment.ends:
            self._let_go(moment.number)
            self._open[moment.number]["until_s"] = round(now_s, 3)
            self._told(f"{fault.what} goes on")
            return
        self._told(fault.name)
        mark: dict[str, Any] = {"at_s": round(now_s, 3), "name": fault.name}
        self.marks.append(mark)
        self._open[moment.number] = mark
        if fault.do == "stop":
            self._still[moment.number] = self._pids(fault)
            for pid in self._still[moment.number]:
                os.kill(pid, signal.SIGSTOP)
        elif fault.do == "stock":
            self._set_stock(fault)
        elif fault.what in (Part.REDIS, Part.BROKER) and self._broker_is_ours(fault):
            assert self._stack.redis is not None
            self._stack.redis.kill()
            self._stack.redis.start()
            mark["until_s"] = round(time.monotonic() - (self._began_s or 0.0), 3)
        else:
            for pid in self._pids(fault):
                os.kill(pid, signal.SIGKILL if fault.do == "kill" else signal.SIGTERM)

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

    def _expect_possible(self, fault: Fault) -> None:
        if fault.what is Part.BROKER and not self._broker_is_ours(fault) and self._broker_pid is None:
            raise NextclickError(f"{fault.name}: the log is Kafka: name the broker's process with --broker-pid")

    def _top_items(self, scenario: Scenario, recording: Path) -> list[str]:
        most = max((fault.top for fault in scenario.fault if fault.do == "stock"), default=0)
        return most_clicked(read_raw(recording), most) if most else []

    def _set_stock(self, fault: Fault) -> None:
        with Client(self._stack.url) as client:
            answer = client.set_stock(dict.fromkeys(self._top[: fault.top], fault.stock))
        detail = f"{answer['accepted']} items, {'seen by every answer' if answer['visible'] else 'not yet seen'}"
        self.checks.append(Check(fault.name, bool(answer["visible"]), detail))


def _counted(stack: Stack) -> dict[str, int]:
    """Return the session path's counts once it has caught up (or the last ones, when it does not)."""
    until = time.monotonic() + CATCH_UP_S
    while True:
        try:
            counted = totals(read_progress(stack.running_settings))
        except (StateUnavailable, LogUnavailable):
            counted = {}
        if counted and not counted["lag"]:
            return counted
        if time.monotonic() > until:
            raise NextclickError(f"expected the session path to catch up within {CATCH_UP_S:.0f} s, got {counted}")
        stack.expect_healthy()
        time.sleep(0.1)


def _nothing_lost(played: PlayResult, recording: Path, counted: dict[str, int], limit: int | None) -> Check:
    """Check accepted = applied + dead-lettered, for what goes through the session path (impressions do not).

    An event whose answer was lost may have been taken although it counts as failed: so many may be there in excess.
    """
    impressions = _impressions(recording, limit) * played.copies
    accepted = played.accepted - min(impressions, played.accepted)
    settled = counted["applied"] + counted["dead_lettered"]
    detail = (
        f"{accepted:,} accepted, {counted['applied']:,} applied, {counted['dead_lettered']:,} dead-lettered, "
        f"{counted['duplicate']:,} duplicates recognised"
    )
    held = accepted <= settled <= accepted + played.lost
    return Check("accepted = applied + dead-lettered", held, detail)


def _impressions(recording: Path, limit: int | None) -> int:
    lines = read_raw(recording)
    return sum(b'"impression"' in raw for _, raw in zip(range(limit or 10**12), lines, strict=False))


def _load_items(stack: Stack, path: Path) -> None:
    with Client(stack.url) as client:
        load_items(Console(quiet=True), list(read_items(path)), client)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable that the stack's processes read, for as long as it takes."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
