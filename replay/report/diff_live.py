"""Two live targets, fed the same schedule at the same time: how their answers to the same questions differ.

Each target has a player of its own, so that a slow one does not hold the other back, and its own tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from contracts.settings import ServiceSettings
from eventlog.files import read_header
from replay.engine.options import PlayOptions
from replay.engine.play import Progress
from replay.engine.run import new_run_name
from replay.engine.session import play_share
from replay.measure.answer_log import LoggedQuestions
from replay.measure.result import PlayResult, result_of
from replay.measure.tally import Tally
from replay.report.diff_lists import A, B, Comparing, Difference, ListsCompared

HEAD_START_S = 0.2


@dataclass(frozen=True, slots=True)
class Both:
    """What two targets made of one schedule, and how their answers compare."""

    a: PlayResult
    b: PlayResult
    lists: ListsCompared


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two targets: a gateway, or what its template describes."""

    url: str
    template: Path | None = None


async def play_both(
    options: PlayOptions,
    a: Side,
    b: Side,
    *,
    progress: Progress = lambda now: None,
    on_difference: Callable[[Difference], None] = lambda one: None,
) -> Both:
    """Play the same schedule into both targets at once. Raises SettingsError without questions to compare.

    `on_difference` is told of every question whose answers differ, as it happens.
    """
    if options.questions is None:
        raise SettingsError("expected questions to compare the answers of: ask with --recommend")
    header, start_ms = read_header(options.recording), wall_clock_ms()
    questions = replace(options.questions, explain=True)
    options = replace(options, run=options.run or new_run_name(start_ms), questions=questions)
    start, comparing = perf_counter() + HEAD_START_S, Comparing(on_difference)

    async def play_one(number: int, side: Side, show: Progress | None) -> Tally:
        return await play_share(
            replace(options, url=side.url, template=side.template),
            ServiceSettings(),
            start_ms=start_ms,
            start=start,
            progress=show,
            asking=lambda asked: LoggedQuestions(asked, partial(comparing.add, number)),
        )

    tallies = await asyncio.gather(play_one(A, a, progress), play_one(B, b, None))
    recording = f"{options.recording} ({header.events:,} events)"
    ours, theirs = (
        result_of(tally, run=options.run, recording=recording, target=side.url, pace=str(options.pace))
        for tally, side in zip(tallies, (a, b), strict=True)
    )
    return Both(ours, theirs, comparing.result())
