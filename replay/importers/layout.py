"""What every importer says, and the run that turns one into an event-log file: read, sort by time, write."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from contracts.errors import ImportFormatError
from contracts.items import Item
from eventlog.files import Header, write_events, write_items
from replay.engine.anonymise import Anonymiser
from replay.importers.sessions import cut_sessions
from replay.importers.sorting import sort_by_time

KEPT_PROBLEMS = 20
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
IDLE_GAP_MS = 30 * 60_000


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


One = TypeVar("One")
OnBroken = Callable[[Broken], None]
Progress = Callable[[str, int, int], None]
"""Called with the phase (`read`, `write`), how much of it is done, and its whole: files, then events."""


class Importer(Protocol):
    """Knows one publisher's layout."""

    @property
    def name(self) -> str: ...

    @property
    def layout(self) -> str:
        """One line for people: which files, from where."""

    @property
    def picks_hours(self) -> bool:
        """Whether `events` itself keeps to `hours`, so as not to read the rest; else they are picked after sorting."""

    @property
    def idle_gap_ms(self) -> int | None:
        """Where a visitor's session is cut; None when the layout has sessions of its own."""

    def events(
        self, source: Path, hours: Hours, on_broken: OnBroken, progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (epoch ms, event JSON) in any order; events of one moment in the order they happened.

        Raises ImportFormatError when the files are not in the layout; a broken line goes to `on_broken`.
        """


class ItemsImporter(Protocol):
    """A layout that comes with a catalogue."""

    def items(self, source: Path, on_broken: OnBroken, progress: Progress) -> Iterator[tuple[str, Item]]:
        """Yield (item id, item), each item once. Errors as in `Importer.events`."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made. `problems` are the first broken lines."""

    header: Header
    broken: int
    problems: tuple[Broken, ...]


@dataclass(slots=True)
class _Problems:
    """Counts broken lines and keeps the first; `strict` raises instead. Mutable: a callback with a memory."""

    strict: bool
    count: int = 0
    kept: list[Broken] = field(default_factory=list)

    def __call__(self, line: Broken) -> None:
        if self.strict:
            raise ImportFormatError(f"{line}: mend the line, or leave --strict away to skip it")
        self.count += 1
        if len(self.kept) < KEPT_PROBLEMS:
            self.kept.append(line)


def import_log(
    importer: Importer,
    source: Path,
    out: Path,
    *,
    hours: Hours | None = None,
    strict: bool = False,
    anonymiser: Anonymiser | None = None,
    progress: Progress = lambda phase, done, whole: None,
    may_be_empty: bool = True,
) -> Imported:
    """Import `source` into the event-log file `out`. A broken line is skipped and counted; `strict` raises instead.

    Unless it `may_be_empty`, raises ImportFormatError, and leaves `out` as it was, when there is no event to take.
    """
    problems, wanted = _Problems(strict), hours or Hours()
    taken = 0

    def counted() -> Iterator[tuple[int, bytes]]:
        nonlocal taken
        for row in importer.events(source, wanted, problems, progress):
            taken += 1
            yield row

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as folder:
        ordered: Iterable[bytes] = sort_by_time(counted(), Path(folder))
        if not importer.picks_hours and wanted != Hours():
            ordered = within(ordered, wanted)
        if importer.idle_gap_ms is not None:
            ordered = cut_sessions(ordered, importer.idle_gap_ms)
        lines: Iterable[Mapping[str, Any] | bytes] = ordered if anonymiser is None else anonymiser.lines(ordered)
        header = write_events(
            out,
            lines if may_be_empty else _some(source, lines, problems),
            anonymised=anonymiser is not None,
            progress=lambda done: progress("write", done, taken),
        )
    return Imported(header, problems.count, tuple(problems.kept))


def _some(source: Path, events: Iterable[One], problems: _Problems) -> Iterator[One]:
    """Yield the events. Raises ImportFormatError when there are none: a log of nothing would only be a riddle later."""
    taken = False
    for event in events:
        taken = True
        yield event
    if not taken:
        first = f"{problems.count:,} broken lines, the first: {problems.kept[0]}" if problems.kept else None
        raise ImportFormatError(
            f"{source}: expected events, took none: {first or 'look at the days or hours asked for'}"
        )


@dataclass(frozen=True, slots=True)
class ImportedItems:
    """What the import of a catalogue made."""

    items: int
    broken: int
    problems: tuple[Broken, ...]


def import_items(
    importer: ItemsImporter,
    source: Path,
    out: Path,
    *,
    strict: bool = False,
    anonymiser: Anonymiser | None = None,
    progress: Progress = lambda phase, done, whole: None,
) -> ImportedItems:
    """Import the catalogue of `source` into the items file `out`, as `import_log` does the events."""
    problems = _Problems(strict)
    found = importer.items(source, problems, progress)
    if anonymiser is not None:
        found = ((anonymiser.item_id(item_id), item) for item_id, item in found)
    count = write_items(out, found)
    return ImportedItems(count, problems.count, tuple(problems.kept))


def within(ordered: Iterable[bytes], hours: Hours) -> Iterator[bytes]:
    """Yield those of the events, which come in time order, that lie in `hours` since midnight (UTC) of the first."""
    from_ms = to_ms = -1
    for raw in ordered:
        ts_ms = orjson.loads(raw)["ts"]
        if from_ms < 0:
            midnight_ms = ts_ms - ts_ms % DAY_MS
            from_ms = midnight_ms + hours.start * HOUR_MS
            to_ms = midnight_ms + hours.end * HOUR_MS if hours.end is not None else 2**63
        if ts_ms >= to_ms:
            return
        if ts_ms >= from_ms:
            yield raw
