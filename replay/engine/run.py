"""One replay, from a recording to a result: plays here or in several processes, and works out the hit rates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from contracts.outputs import FileKind, written_aside
from contracts.settings import ServiceSettings
from eventlog.files import read_header
from replay.engine.choices import Ask, Into
from replay.engine.options import PlayOptions, Questions
from replay.engine.play import Progress
from replay.engine.session import Asking, play_share
from replay.engine.workers import play_in_workers
from replay.measure.answer_log import LoggedQuestions, answers_written
from replay.measure.hit_rates import HitRates, default_baselines, score
from replay.measure.hit_rates import Progress as ScoreProgress
from replay.measure.result import PlayResult, result_of
from replay.measure.tally import AnswerTally, Tally

__all__ = ["PlayOptions", "Questions", "new_run_name", "play_recording"]


def _is_timings(path: Path) -> bool:
    try:
        with ZipFile(path) as archive:
            return {"intended_s.npy", "sent_s.npy", "done_s.npy"} <= set(archive.namelist())
    except (OSError, ValueError, NotImplementedError, BadZipFile):
        return False


TIMINGS = FileKind("times of a replay's requests", _is_timings)
Clock = Callable[[], int]
"""Epoch milliseconds."""


def new_run_name(at_ms: int) -> str:
    """Return a run's name made from its time: `r` and base 36."""
    digits, rest = "", at_ms
    while rest:
        rest, digit = divmod(rest, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"r{digits}"


async def play_recording(
    options: PlayOptions,
    settings: ServiceSettings,
    *,
    clock: Clock = wall_clock_ms,
    progress: Progress | None = None,
    score_progress: ScoreProgress = lambda done, whole: None,
    stop: asyncio.Event | None = None,
) -> PlayResult:
    """Play one recording. Raises ImportFormatError for a file that is no recorded log, LogUnavailable without a log."""
    header = read_header(options.recording)
    start_ms = clock()
    options = replace(options, run=options.run or new_run_name(start_ms))
    if options.answers is not None:
        options = _explained(options)
    if options.workers > 1:
        tally = await play_in_workers(options, settings, clock=clock, progress=progress, stop=stop)
    else:
        with _asking(options) as asking:
            tally = await play_share(options, settings, start_ms=start_ms, progress=progress, stop=stop, asking=asking)
    if options.timings is not None:
        _write_timings(options.timings, tally)
    asks_gateway = tally.asked is not None and options.questions is not None and options.questions.baselines
    rates = await asyncio.to_thread(_scored, options, tally.asked, score_progress) if asks_gateway else None
    return result_of(
        tally,
        run=options.run,
        recording=f"{options.recording} ({header.events:,} events)",
        target=options.url if options.into is Into.GATEWAY else "the event log",
        pace=str(options.pace),
        hit_rates=rates,
        workers=options.workers,
        copies=options.clones.copies,
        answers_file=str(options.answers.absolute()) if options.answers is not None else "",
    )


def _explained(options: PlayOptions) -> PlayOptions:
    """Return options whose questions have rules named. Raises SettingsError where answers cannot be kept."""
    questions = options.questions
    if questions is None or questions.when is not Ask.CLICK or options.workers > 1:
        raise SettingsError("--answers: expected --recommend, asked before clicks, and one worker: answers are kept so")
    return replace(options, questions=replace(questions, explain=True))


@contextmanager
def _asking(options: PlayOptions) -> Iterator[Asking]:
    """Give what puts itself around the questions: what writes the answers down, where they are wanted."""
    if options.answers is None:
        yield lambda questions: questions
        return
    with answers_written(options.answers) as on_answer:
        yield lambda questions: LoggedQuestions(questions, on_answer)


def _scored(options: PlayOptions, asked: AnswerTally | None, progress: ScoreProgress) -> HitRates:
    questions = options.questions or Questions()
    return score(
        options.recording,
        asked.ranks if asked is not None else {},
        default_baselines(),
        prime=questions.prime,
        seen_items=questions.seen_items,
        limit=questions.limit,
        copies=options.clones.copies,
        progress=progress,
    )


def _write_timings(path: Path, tally: Tally) -> None:
    """Write every request's intended, sent and done time, seconds after the start, as a .npz of columns."""
    with written_aside(path, TIMINGS) as aside, aside.open("xb") as file:
        np.savez_compressed(file, **tally.columns)  # type: ignore[arg-type]
