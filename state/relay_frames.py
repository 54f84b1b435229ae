"""Which answers of Redis a relay keeps of a table's changes, and where they are. Pure: it reads and writes nothing."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from state.relay_memory import Place
from state.table_changes import ChangesTrimmed


class Frame(NamedTuple):
    """One answer of Redis: of changes `first` up to, not with, `end`."""

    first: int
    end: int
    place: Place


class KeptFrames:
    """Frames that follow each other, at most so many changes and bytes; older ones are let go."""

    def __init__(self, begin: int, *, most_changes: int, most_bytes: int) -> None:
        """`begin`: the number of the first change that will be told of."""
        self._most_changes, self._most_bytes = most_changes, most_bytes
        self._oldest = self.end = begin
        """`end`: the number that the next change gets."""
        self.size = 0
        """Bytes that are kept."""
        self._frames: list[Frame] = []
        self._firsts: list[int] = []

    def __len__(self) -> int:
        """Return how many changes are kept."""
        return self.end - self._oldest

    def add(self, frame: Frame) -> int:
        """Keep a frame; return the first segment that is still needed. One that does not follow what is there is not
        kept: raises ChangesTrimmed.
        """
        if not self.end == frame.first < frame.end:
            raise ChangesTrimmed(f"expected changes from number {self.end} on, got {frame.first} to {frame.end}")
        self._frames.append(frame)
        self._firsts.append(frame.first)
        self.size += frame.place.length
        self.end = frame.end
        gone = 0
        while gone < len(self._frames) and (len(self) > self._most_changes or self.size > self._most_bytes):
            self.size -= self._frames[gone].place.length
            self._oldest = self._frames[gone].end
            gone += 1
        del self._frames[:gone], self._firsts[:gone]
        return self._frames[0].place.segment if self._frames else frame.place.segment

    def since(self, number: int) -> Frame | None:
        """Return the frame that tells of a change; None where it is still to come. Raises ChangesTrimmed where it is no
        longer kept.
        """
        if number < self._oldest:
            raise ChangesTrimmed(f"wanted change {number}, the oldest kept is {self._oldest}")
        if number >= self.end:
            return None
        return self._frames[bisect_right(self._firsts, number) - 1]
