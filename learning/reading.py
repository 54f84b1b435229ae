"""The recorded sessions of an evaluation: read, and found fit before anything is trained."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import SettingsError
from contracts.settings import SessionSettings
from evaluation.sessions import Sessions, read_session_lines
from learning.evaluate_next_item import LEARN_SHARE
from learning.next_item import read_log, read_logs
from learning.training import MIN_GROUPS

_HELD_OUT = 0.1
_TABLES = (".csv", ".tsv", ".dat", ".parquet")


def read_sessions(
    train: Path, test: Path | None, held_out: float | None, *, folds: int, with_context: bool = False
) -> tuple[Sessions, Sessions]:
    """Read both sides, which share one list of items; without `test` the latest sessions of `train` are the second,
    a tenth unless `held_out` says which share. `folds` tenths of the first are for the re-ranker to learn from.

    `with_context`: with the device and the region that the clicks of event logs name.

    Raises SettingsError for files of two kinds, or too little to learn from or to ask for; ImportFormatError.
    """
    if test is not None and held_out is not None:
        raise SettingsError(f"expected --test or --held-out, got {test} and {held_out:g}: leave one out")
    paths = [train, *([test] if test is not None else [])]
    for path in paths:
        if path.is_dir() or path.suffix in _TABLES:
            what = "a folder" if path.is_dir() else "a table"
            raise SettingsError(
                f"{path}: expected sessions, one a line (.txt), or an event log (.jsonl.zst), got {what}: "
                "`nextclick import csv` makes a log of a table of clicks"
            )
    lines = [path.suffix == ".txt" for path in paths]
    if lines == [True]:
        raise SettingsError(f"{train}: expected --test beside sessions without times, got none: name a second .txt")
    if len(set(lines)) > 1:
        raise SettingsError(
            f"expected --train and --test of one kind, two .txt of one session a line or two event logs, got {train} "
            f"and {test}"
        )
    if test is None:
        every = read_log([train], SessionSettings(), with_context=with_context)
        cut = int(len(every) * (1.0 - (_HELD_OUT if held_out is None else held_out)))
        sides = every.part(0, cut), every.part(cut, len(every))
    else:
        sides = (
            read_session_lines(train, test)
            if all(lines)
            else read_logs(train, test, SessionSettings(), with_context=with_context)
        )
    _expect_enough(*sides, train, test or train, folds)
    return sides


def _expect_enough(learnt: Sessions, later: Sessions, train: Path, test: Path, folds: int) -> None:
    share = LEARN_SHARE * folds
    last = learnt.part(int(len(learnt) * (1.0 - share)), len(learnt))
    if _next_clicks(last) < 2 * MIN_GROUPS:
        raise SettingsError(
            f"{train}: expected at least {2 * MIN_GROUPS} next clicks in the last {share:.0%} of the training sessions "
            f"for the re-ranker to learn from, got {_next_clicks(last)} in {len(last)} of {len(learnt)} sessions: take "
            "more sessions; were --train and --test exchanged?"
        )
    if not _next_clicks(later):
        raise SettingsError(
            f"{test}: expected sessions of two clicks or more to ask for, got {len(later)} of one click"
        )


def _next_clicks(sessions: Sessions) -> int:
    return len(sessions.items) - len(sessions)
