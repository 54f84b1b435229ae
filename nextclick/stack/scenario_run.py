"""Runs a scenario: a stack of its own, a recording played into it, faults done in time, the outcome counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import uvloop
from rich.console import Console

from contracts.errors import LogUnavailable, NextclickError, StateUnavailable
from eventlog.files import read_header, read_items, read_raw
from nextclick.stack.client import Client
from nextclick.stack.environment import environment_with
from nextclick.stack.load_items import load_items
from nextclick.stack.progress import read_progress, totals
from nextclick.stack.scenario_faults import Check, Faults, Tell, expect_possible
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack import Stack
from replay.engine.options import PlayOptions
from replay.engine.play import Snapshot
from replay.engine.run import play_recording
from replay.engine.scenario import Scenario
from replay.measure.result import PlayResult

CATCH_UP_S = 120.0
FROM_CLICKS, VISITORS = "NEXTCLICK_TREND__CATALOGUE_FROM_CLICKS", "NEXTCLICK_TREND__VISITORS"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a scenario runs: `folder` takes the stack's files, `items` is loaded into the catalogue first,
    `broker_pid` is the process of a Kafka broker, which the stack does not start itself.
    """

    folder: Path
    items: Path | None = None
    artifacts: Path | None = None
    broker_pid: int | None = None


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
    tell: Tell = lambda text: None,
    progress: Callable[[Snapshot], None] = lambda now: None,
) -> ScenarioResult:
    """Run it and return what came of it. Raises StartupError when the stack does not come up, SettingsError for a fault
    that cannot be done here.
    """
    plan, settings = scenario.stack, scenario_settings(scenario, surroundings)
    expect_possible(scenario, settings, surroundings.broker_pid, _length_s(options))
    from_clicks = str(plan.catalogue_from_clicks and surroundings.items is None).lower()
    with environment_with({FROM_CLICKS: from_clicks, VISITORS: "1"}):  # what is replayed is trusted
        stack = Stack(settings)
        stack.start(tell)
        try:
            if surroundings.items is not None:
                tell("loading the catalogue")
                _load_items(stack, surroundings.items)
            doing = Faults(scenario, stack, options.recording, surroundings.broker_pid, tell)
            played = _play(replace(options, url=stack.url), stack, doing, progress)
            tell("waiting for the session path")
            checks = [*doing.checks, _nothing_lost(played, options.recording, _counted(stack), options.events)]
            return ScenarioResult(scenario.name, played, doing.marks, checks)
        finally:
            stack.stop()


def scenario_settings(scenario: Scenario, surroundings: Surroundings) -> StackSettings:
    """Return what a scenario's stack runs with: files, port and Redis of its own, what the scenario and the options
    say, and the settings for the rest.
    """
    own: dict[str, object] = {"port": 0, "folder": surroundings.folder, "embedded_redis": True}
    plan = scenario.stack
    own |= plan.model_dump(include=plan.model_fields_set & {"gateways", "session_workers"})
    given = {f"stack.{name}": value for name, value in own.items()}
    given["artifacts"] = surroundings.artifacts and str(surroundings.artifacts)
    if any(fault.do == "swap" for fault in scenario.fault):
        given["index.folder"] = str(surroundings.folder.absolute() / "index")
    return with_given(StackSettings(), given)


def _length_s(options: PlayOptions) -> float:
    """Return when the last event is due, seconds after the first."""
    header = read_header(options.recording)
    events = min(header.events, options.events or header.events)
    if events == header.events:
        last_ms = header.last_ms or 0
    else:
        last_ms = next(islice((orjson.loads(line)["ts"] for line in read_raw(options.recording)), events - 1, None))
    return options.pace.offset_s(max(0, events - 1), last_ms, header.first_ms or 0)


def _play(options: PlayOptions, stack: Stack, doing: Faults, progress: Callable[[Snapshot], None]) -> PlayResult:
    def on_progress(now: Snapshot) -> None:
        doing.begin(now.elapsed_s)
        progress(now)

    try:
        return uvloop.run(play_recording(options, stack.running_settings, progress=on_progress))
    finally:
        doing.finish()


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
            raise NextclickError(
                f"expected the session path to catch up within {CATCH_UP_S:.0f} s, got {counted}: {stack.whose_fault()}"
            )
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
