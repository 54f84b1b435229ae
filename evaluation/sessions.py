"""Recorded sessions as columns, and the predictions that a test asks for. No other module of the room reads files.

Two research layouts are read: one session a line (item ids between spaces), and tab-separated `SessionId ItemId Time`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from contracts.events import EventCode
from eventlog.packed import opened_text

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Codes = NDArray[np.uint8]


Said = tuple[str, str]
"""The device and the region that a click names, "" for none."""


def _context_of(told: Ints | None, said: tuple[Said, ...], click: int) -> dict[str, str] | None:
    if told is None:
        return None
    named = zip(("device", "region"), said[told[click]], strict=True)
    return {name: value for name, value in named if value} or None


@dataclass(frozen=True, slots=True)
class Sessions:
    """s sessions of n clicks, in the order in which they ended.

    `items` (n,) are places in `item_ids`, session by session, oldest first; session i's are
    `items[starts[i]:starts[i + 1]]`. `ts_ms` (n,) are their times, `codes` (n,) their EventCodes. `told` (n,) are
    places in `said`, where it was asked what clicks say of their visitors.
    """

    item_ids: tuple[str, ...]
    items: Ints
    starts: Longs
    ts_ms: Longs
    codes: Codes
    told: Ints | None = None
    said: tuple[Said, ...] = ()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def context_of(self, click: int) -> dict[str, str] | None:
        """Return the device and the region that a click names; None where that was not asked for."""
        return _context_of(self.told, self.said, click)

    @property
    def lengths(self) -> Longs:
        return np.diff(self.starts)

    @property
    def owners(self) -> Longs:
        """Each click's session, (n,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def part(self, begin: int, end: int) -> Sessions:
        """Return sessions `begin` to `end`, half open."""
        clicks = slice(int(self.starts[begin]), int(self.starts[end]))
        starts = self.starts[begin : end + 1] - self.starts[begin]
        told = None if self.told is None else self.told[clicks]
        return replace(
            self, items=self.items[clicks], starts=starts, ts_ms=self.ts_ms[clicks], codes=self.codes[clicks], told=told
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """c predictions: the item at `ends` is asked for, given `items[begins:ends]` of the same session.

    `items`, `ts_ms`, `codes`, `told` and `said` are the sessions' columns; `session` (c,) says whose case it is,
    `targets` (c,) are places in the item list, `repeated` (c,) says whether the target was clicked in its session
    before.
    """

    items: Ints
    ts_ms: Longs
    codes: Codes
    session: Longs
    begins: Longs
    ends: Longs
    repeated: NDArray[np.bool_]
    told: Ints | None = None
    said: tuple[Said, ...] = ()

    def __len__(self) -> int:
        return len(self.ends)

    def context_of(self, click: int) -> dict[str, str] | None:
        """As `Sessions.context_of`."""
        return _context_of(self.told, self.said, click)

    @property
    def targets(self) -> Ints:
        return self.items[self.ends]

    def prefix(self, case: int) -> Ints:
        """Return the items before a case's target, oldest first."""
        return self.items[self.begins[case] : self.ends[case]]

    @property
    def last(self) -> Ints:
        """The item clicked just before each target, (c,)."""
        return self.items[self.ends - 1]

    def pick(self, which: NDArray[np.intp]) -> Cases:
        columns = {name: getattr(self, name)[which] for name in ("session", "begins", "ends", "repeated")}
        return replace(self, **columns)

    def sample(self, count: int, rng: np.random.Generator) -> Cases:
        """Return `count` cases drawn without replacement, in their order; all when there are no more."""
        if count >= len(self):
            return self
        return self.pick(np.sort(rng.choice(len(self), count, replace=False)))


def cases_of(sessions: Sessions) -> Cases:
    """Return every prefix of length 1 or more with the item that follows it (the protocol of SR-GNN and others)."""
    owners = sessions.owners
    asked = np.ones(len(owners), np.bool_)
    asked[sessions.starts[:-1][sessions.lengths > 0]] = False
    repeated = np.ones(len(owners), np.bool_)
    repeated[np.unique(owners * len(sessions.item_ids) + sessions.items, return_index=True)[1]] = False
    ends = np.flatnonzero(asked)
    session = owners[ends]
    begins = sessions.starts[session]
    columns = sessions.items, sessions.ts_ms, sessions.codes
    return Cases(*columns, session, begins, ends, repeated[ends], sessions.told, sessions.said)


def read_session_lines(train: Path, test: Path, *, gap_ms: int = 60_000) -> tuple[Sessions, Sessions]:
    """Read two files of one session a line, oldest first. They tell no times: one session begins every `gap_ms`, and
    its clicks are spread over half of that, so that sessions follow one another as in the file.

    Raises ImportFormatError for a file without a session, or one that is a table.
    """
    place: dict[str, int] = {}
    columns = [_read_lines(path, place) for path in (train, test)]
    item_ids = tuple(place)
    found, before = [], 0
    for lengths, items in columns:
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        within = (np.arange(len(items)) - starts[owner]) / np.maximum(np.array(lengths)[owner], 1)
        ts_ms = ((before + owner) * gap_ms + within * (gap_ms / 2)).astype(np.int64)
        codes = np.full(len(items), EventCode.VIEW, np.uint8)
        found.append(Sessions(item_ids, np.array(items, np.int32), starts, ts_ms, codes))
        before += len(lengths)
    return found[0], found[1]


def _read_lines(path: Path, place: dict[str, int]) -> tuple[list[int], list[int]]:
    lengths: list[int] = []
    items: list[int] = []
    with opened_text(path) as file:
        for line in file:
            words = line.split()
            if not lengths and words and _is_table(line):
                raise ImportFormatError(
                    f"{path}: expected one session a line, item ids between spaces, got {line.strip()!r:.60}: "
                    "`nextclick import csv` makes an event log of a table"
                )
            if words:
                lengths.append(len(words))
                items.extend(place.setdefault(word, len(place)) for word in words)
    if not lengths:
        raise ImportFormatError(f"{path}: expected one session a line, item ids between spaces, got no session")
    return lengths, items


def _is_table(line: str) -> bool:
    """Say whether a first line is a table's, or JSON, rather than item ids between spaces."""
    line = line.strip()
    return "\t" in line or line.startswith("{") or (" " not in line and any(mark in line for mark in ",;|"))


class Click(NamedTuple):
    """One click of a recording; `item` is a place in the item list, `told` one in the list of what clicks say."""

    session_id: str
    item: int
    ts_ms: int
    code: int = int(EventCode.VIEW)
    told: int = 0


def from_clicks(
    item_ids: tuple[str, ...],
    clicks: Sequence[Click],
    *,
    idle_gap_ms: int | None = None,
    said: tuple[Said, ...] = (),
) -> Sessions:
    """Build sessions from clicks in any order; those of one moment keep theirs. A session that pauses for longer than
    the idle gap goes on as another one. Raises ImportFormatError when there is no click.
    """
    if not clicks:
        raise ImportFormatError("expected at least one click, got none: check the file and the hours asked for")
    numbers: dict[str, int] = {}
    rows = [
        (numbers.setdefault(one.session_id, len(numbers)), one.item, one.ts_ms, one.code, one.told) for one in clicks
    ]
    session, item, ts_ms, code, told = np.array(rows, np.int64).T
    order = np.lexsort((ts_ms, session))
    session, item, ts_ms, code = session[order], item[order], ts_ms[order], code[order]
    cut = np.diff(session) != 0
    if idle_gap_ms is not None:
        cut |= np.diff(ts_ms) > idle_gap_ms
    number = np.concatenate([np.zeros(1, np.int64), np.cumsum(cut)])
    ended = ts_ms[np.concatenate([np.flatnonzero(cut), [len(ts_ms) - 1]])]
    place = np.empty(len(ended), np.int64)
    place[np.argsort(ended, kind="stable")] = np.arange(len(ended))
    by_end = np.argsort(place[number], kind="stable")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(place[number]))])
    codes, told = code[by_end].astype(np.uint8), told[order][by_end]
    found = Sessions(item_ids, item[by_end].astype(np.int32), starts, ts_ms[by_end], codes)
    return replace(found, told=told.astype(np.int32), said=said) if said else found
