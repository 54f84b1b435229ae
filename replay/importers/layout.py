"""What every importer says, and the run that turns one into an event-log file: read, sort by time, write."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contracts.errors import ImportFormatError
from eventlog.files import Header, write_events
from replay.importers.sorting import sort_by_time

KEPT_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Hours:
    """Which part of a recording to take, by click time: hours [start, end) since the recording's first midnight."""

    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ImportFormatError(f"expected hours that go up from 0, got {self.start} to {self.end}")

    @classmethod
    def of_days(cls, days: str) -> Hours:
        """Parse `0:1` (the first day), `1:` (all but the first) or `2` (the third)."""
        first, colon, last = days.partition(":")
        try:
            start = int(first) if first else 0
            end = int(last) if last else (None if colon else start + 1)
        except ValueError:
            raise ImportFormatError(f"expected days such as 0:1, got {days!r}") from None
        return cls(24 * start, None if end is None else 24 * end)


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that could not be taken. Lines count from 1."""

    file: str
    line: int
    column: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: column {self.column}: {self.problem}"


OnBroken = Callable[[Broken], None]
Progress = Callable[[str, int, int], None]
"""Told the phase (`read`, `write`), how much of it is done, and its whole: files, then events."""


class Importer(Protocol):
    """Knows one publisher's layout."""

    name: str
    layout: str
    """One line for people: which files, from where."""

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (epoch ms, event JSON) in any order; events of one moment in the order they happened.

        Raises ImportFormatError when the files are not in the layout; a broken line goes to `on_broken`.
        """


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made. `problems` are the first broken lines."""

    header: Header
    broken: int
    problems: tuple[Broken, ...]


def import_log(
    importer: Importer,
    source: Path,
    out: Path,
    *,
    hours: Hours | None = None,
    strict: bool = False,
    progress: Progress = lambda phase, done, whole: None,
) -> Imported:
    """Import `source` into the event-log file `out`. A broken line is skipped and counted; `strict` raises instead."""
    problems: list[Broken] = []
    broken = taken = 0

    def on_broken(line: Broken) -> None:
        nonlocal broken
        if strict:
            raise ImportFormatError(f"{line}: mend the line, or leave --strict away to skip it")
        broken += 1
        if len(problems) < KEPT_PROBLEMS:
            problems.append(line)

    def counted() -> Iterator[tuple[int, bytes]]:
        nonlocal taken
        for row in importer.events(source, hours or Hours(), on_broken, progress):
            taken += 1
            yield row

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as folder:
        ordered = sort_by_time(counted(), Path(folder))
        header = write_events(out, ordered, progress=lambda done: progress("write", done, taken))
    return Imported(header, broken, tuple(problems))
