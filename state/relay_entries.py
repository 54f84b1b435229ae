"""The newest entries of a table's change stream, kept by a relay as Redis would send them. Pure: it asks nobody."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import hiredis

from state.table_changes import TOGETHER, Change, ChangesTrimmed


class KeptEntries:
    """Entries from one change on, at most so many changes and bytes; older ones are let go."""

    def __init__(self, begin: int, *, most_changes: int, most_bytes: int) -> None:
        """`begin`: the number of the first change that will be added."""
        self._most_changes, self._most_bytes = most_changes, most_bytes
        self.end = begin
        """The number that the next change gets."""
        self.size = 0
        """Bytes that are kept."""
        self._oldest = begin
        self._lasts: list[int] = []
        self._entries: list[bytes] = []
        self._gone = 0
        """Entries at the beginning of both lists that were let go."""

    def __len__(self) -> int:
        """Return how many changes are kept."""
        return self.end - self._oldest

    def add(self, changes: Sequence[Change]) -> None:
        """Keep changes. Raises ChangesTrimmed for those that do not follow what is there; nothing is added then."""
        if [change.number for change in changes] != list(range(self.end, self.end + len(changes))):
            raise ChangesTrimmed(f"expected changes from number {self.end} on, got others: begin anew")
        for entry, last in _entries(changes):
            self._entries.append(entry)
            self._lasts.append(last)
            self.size += len(entry)
            self.end = last + 1
        while self._gone < len(self._entries) and (len(self) > self._most_changes or self.size > self._most_bytes):
            self._let_go()
        if self._gone > 1000 and 2 * self._gone > len(self._entries):
            del self._entries[: self._gone], self._lasts[: self._gone]
            self._gone = 0

    def since(self, number: int, entries: int) -> list[bytes]:
        """Return at most so many entries, of which the first tells of change `number`; none where it is still to come.
        Raises ChangesTrimmed where it is no longer kept.
        """
        if number < self._oldest:
            raise ChangesTrimmed(f"wanted change {number}, the oldest kept is {self._oldest}")
        begin = bisect_left(self._lasts, number, lo=self._gone)
        return self._entries[begin : begin + entries]

    def _let_go(self) -> None:
        self.size -= len(self._entries[self._gone])
        self._oldest = self._lasts[self._gone] + 1
        self._entries[self._gone] = b""
        self._gone += 1


def answer_of(stream: bytes, entries: Sequence[bytes]) -> list[bytes]:
    """Return Redis's answer to an XREAD of one stream, in parts: nothing is copied."""
    if not entries:
        return [b"*-1\r\n"]
    return [b"*1\r\n*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(stream), stream, len(entries)), *entries]


def _entries(changes: Sequence[Change]) -> Iterator[tuple[bytes, int]]:
    """Yield entries, and the number of the last change of each: see `state.table_scripts.COMMIT`."""
    for is_gone, alike in groupby(changes, lambda change: change.row is None):
        some = list(alike)
        for at in range(0, len(some), TOGETHER):
            part = some[at : at + TOGETHER]
            fields: list[Any] = [b"delete" if is_gone else b"put", b"%d" % len(part)]
            for change in part:
                fields += [change.key] if change.row is None else [change.key, change.row]
            last = part[-1].number
            name = b"%d-1" % last
            yield b"*2\r\n$%d\r\n%b\r\n%b" % (len(name), name, hiredis.pack_command(tuple(fields))), last
