"""The highest rate that still keeps to an objective: doubling until it breaks, bisecting what is between, and a run
that confirms what was found. The search is pure; what plays a step is an argument.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from contracts.outputs import json_kind
from replay.measure.objectives import Checked, Slo
from replay.measure.result import PlayResult

Phase = Literal["doubling", "bisecting", "confirming"]
LOWER_BY = 0.9
"""A rate that is not confirmed is tried again this much lower."""


@dataclass(frozen=True, slots=True)
class Search:
    """From `start` events a second up to `ceiling`, until two rates are `precision` apart (0.1: a tenth). A step plays
    `step_s`, the confirmation `confirm_s`; `confirmations` are tried, each lower than the one before.
    """

    start: float = 50.0
    ceiling: float = 100_000.0
    precision: float = 0.1
    step_s: float = 5.0
    confirm_s: float = 15.0
    confirmations: int = 4

    def __post_init__(self) -> None:
        if not (0 < self.start <= self.ceiling and self.precision > 0 and self.step_s > 0 and self.confirm_s > 0):
            raise ValueError(f"expected a start up to the ceiling, and times and a precision above 0, got {self}")


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried. `sender` says that the sender, not the target, could not."""

    phase: Phase
    rate: float
    checked: tuple[Checked, ...]
    result: PlayResult
    ok: bool
    sender: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` is the highest that was confirmed, None when not even the lowest held. `note` says what bounded the
    search, when it was not the objective.
    """

    rate: float | None
    steps: tuple[Step, ...]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the rate, and of every step its conditions and its run's result."""
        steps = [
            {
                "phase": step.phase,
                "rate": step.rate,
                "ok": step.ok,
                "conditions": [
                    {"text": str(one.condition.text), "value": one.value, "ok": one.ok} for one in step.checked
                ],
                "result": step.result.as_json(),
            }
            for step in self.steps
        ]
        return {"rate": self.rate, "note": self.note, "steps": steps}


LIMIT = json_kind("the result of `nextclick replay limit`", "rate", "note", "steps")
PlayAt = Callable[[float, float], Awaitable[PlayResult]]
"""Plays at a rate for some seconds."""


async def find_limit(
    play_at: PlayAt, slo: Slo, search: Search, *, on_step: Callable[[Step], None] = lambda step: None
) -> Limit:
    """Search. `on_step` is told every step as it ends."""
    steps: list[Step] = []

    async def holds(phase: Phase, rate: float) -> bool:
        result = await play_at(rate, search.confirm_s if phase == "confirming" else search.step_s)
        checked = tuple(slo.check(result))
        kept_up = not result.invalid and not result.stopped
        ok = kept_up and all(one.ok for one in checked)
        steps.append(Step(phase, rate, checked, result, ok, result.bottleneck))
        on_step(steps[-1])
        return ok

    good, bad = 0.0, None
    rate = search.start
    while bad is None and rate <= search.ceiling and not _stopped(steps):
        if await holds("doubling", rate):
            good, rate = rate, rate * 2.0
        else:
            bad = rate
    if bad is None and good < search.ceiling and not _stopped(steps):
        good, bad = await _at_ceiling(holds, good, search)
    lowest = search.start / 16.0
    while bad is not None and bad > lowest and bad - good > search.precision * good and not _stopped(steps):
        middle = (good + bad) / 2.0
        if await holds("bisecting", middle):
            good = middle
        else:
            bad = middle
    return await _confirmed(holds, good, steps, search)


async def _at_ceiling(
    holds: Callable[[Phase, float], Awaitable[bool]], good: float, search: Search
) -> tuple[float, float | None]:
    if await holds("doubling", search.ceiling):
        return search.ceiling, None
    return good, search.ceiling


async def _confirmed(
    holds: Callable[[Phase, float], Awaitable[bool]], good: float, steps: list[Step], search: Search
) -> Limit:
    rate, note = good, _note(steps, good, search)
    for _ in range(search.confirmations if good else 0):
        if _stopped(steps):
            return Limit(None, tuple(steps), "stopped before it was confirmed")
        if await holds("confirming", rate):
            return Limit(rate, tuple(steps), note)
        rate *= LOWER_BY
    return Limit(
        None, tuple(steps), note or ("no rate that held was confirmed" if good else "not even the lowest held")
    )


def _note(steps: list[Step], good: float, search: Search) -> str:
    broken = [step for step in steps if not step.ok]
    if broken and min(broken, key=lambda step: step.rate).sender:
        return "the sender's own limit, not the target's: use more --workers, or another machine"
    return "the ceiling of the search, not the target's" if good >= search.ceiling else ""


def _stopped(steps: list[Step]) -> bool:
    return bool(steps) and steps[-1].result.stopped
