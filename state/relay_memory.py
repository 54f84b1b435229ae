"""Memory that a relay writes once and gateways read: files beside its socket, mapped by all.

A segment is only ever added to, and given up whole: what somebody reads is never written over. Its pages are taken
before they are written, so a full disk is an error and no death. Who still has a segment that was given up keeps it.
"""

from __future__ import annotations

import mmap
import os
import re
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEGMENT_BYTES: Final = 4 << 20
_MAPPED: Final = 4
"""Segments of a table that a reader has mapped: the newest, and those that it fell behind in."""
_TOLD: Final = re.compile(rb"([0-9a-f]{8}) (\d{1,15}) (\d{1,15}) (\d{1,15})")
_LEFT: Final = re.compile(r"\.[^/]+\.[0-9a-f]{8}\.\d+")

Bytes = NDArray[np.uint8]


class Place(NamedTuple):
    """Where something stands: of which writer, in which of its segments, from which byte on, and how many bytes."""

    writer: str
    segment: int
    offset: int
    length: int

    def told(self) -> bytes:
        return f"{self.writer} {self.segment} {self.offset} {self.length}".encode()

    @classmethod
    def read(cls, told: bytes) -> Place:
        """Raises ValueError."""
        if (found := _TOLD.fullmatch(told)) is None:
            raise ValueError(f"expected a place in a segment, got {told!r:.60}")
        writer, *numbers = found.groups()
        return cls(writer.decode(), *map(int, numbers))


class Segments:
    """Writes segments. `base` is what their paths begin with; a name of its own keeps them apart from others' there."""

    def __init__(self, base: str, *, size: int = SEGMENT_BYTES) -> None:
        self._base, self._size, self._writer = base, size, token_hex(4)
        self._number, self._room, self._oldest = -1, 0, 0
        self._mapped: mmap.mmap | None = None

    def write(self, raw: Bytes) -> Place:
        """Put bytes behind what is there. Raises OSError where there is no room for them."""
        if self._mapped is None or len(self._mapped) - self._room < len(raw):
            self._mapped = self._begin(max(self._size, len(raw)))
        place = Place(self._writer, self._number, self._room, len(raw))
        self._mapped[self._room : self._room + len(raw)] = raw.tobytes()
        self._room += len(raw)
        return place

    def give_up(self, before: int) -> None:
        """Remove the segments before this one; the one that is written stays."""
        while self._oldest < min(before, self._number):
            self._path(self._oldest).unlink(missing_ok=True)
            self._oldest += 1

    def close(self) -> None:
        """Remove all."""
        self.give_up(self._number)
        if self._mapped is not None:
            self._path(self._number).unlink(missing_ok=True)
            self._mapped = None

    def _begin(self, size: int) -> mmap.mmap:
        path = self._path(self._number + 1)
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(opened, 0, size)
            mapped = mmap.mmap(opened, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(opened)
        self._number, self._room = self._number + 1, 0
        return mapped

    def _path(self, segment: int) -> Path:
        return _path(self._base, self._writer, segment)


class SegmentReader:
    """Reads what `Segments` wrote, without a copy of it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._mapped: OrderedDict[tuple[str, int], Bytes] = OrderedDict()

    def read(self, place: Place) -> Bytes:
        """Return the bytes there, (n,). Raises OSError, ValueError where there are none."""
        found = self._segment(place.writer, place.segment)[place.offset : place.offset + place.length]
        if len(found) != place.length or not place.length:
            raise ValueError(f"expected {place.length} bytes at {place.offset} of a segment, it has {len(found)} there")
        return found

    def _segment(self, writer: str, number: int) -> Bytes:
        mapped = self._mapped.get((writer, number))
        if mapped is None:
            with _path(self._base, writer, number).open("rb") as file:
                mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
            self._mapped[writer, number] = mapped
            if len(self._mapped) > _MAPPED:
                self._mapped.popitem(last=False)
        return mapped


def base_of(socket: str, table: str) -> str:
    """Return what the paths of a table's segments begin with."""
    return f"{socket}.{table}"


def remove_left(socket: str) -> None:
    """Remove the segments that a killed relay of this socket left."""
    path = Path(socket)
    for left in list(path.parent.iterdir()):
        if left.name.startswith(path.name) and _LEFT.fullmatch(left.name[len(path.name) :]):
            with suppress(OSError):
                left.unlink()


def _path(base: str, writer: str, segment: int) -> Path:
    return Path(f"{base}.{writer}.{segment}")
