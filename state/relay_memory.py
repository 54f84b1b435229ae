"""Memory that a relay writes once and gateways read: files that all have mapped, in a file system of memory.

A segment is only ever added to, and given up whole: what somebody reads is never written over. Its pages are taken
before they are written, so a full one is an error and no death. Who still has a segment that was given up keeps it.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHARED_MEMORY: Final = Path("/dev/shm")
SEGMENT_BYTES: Final = 4 << 20
_MAPPED: Final = 4
"""Segments of a table that a reader has mapped: the newest, and those that it fell behind in."""
_MAPS: Final = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
"""All pages at once: a fault for each of them costs more than reading it."""
_TOLD: Final = re.compile(rb"(/[^\0]+) (\d{1,15}) (\d{1,15})")
_LEFT: Final = re.compile(r"\.[^/]+\.[0-9a-f]{8}\.\d+")

Bytes = NDArray[np.uint8]


class Place(NamedTuple):
    """Where something stands: in which segment, from which byte on, and how many bytes."""

    segment: int
    offset: int
    length: int


class Segments:
    """Writes segments. `base` is what their paths begin with; a name of its own keeps them apart from others' there."""

    def __init__(self, base: Path, *, size: int = SEGMENT_BYTES) -> None:
        self._base, self._size = f"{base.absolute()}.{token_hex(4)}", size
        self._number, self._written, self._room, self._oldest = -1, 0, 0, 0
        self._file: int | None = None

    def write(self, raw: Bytes) -> Place:
        """Put bytes behind what is there. Raises OSError where there is no room for them."""
        if self._file is None or self._room < len(raw):
            self._begin(max(self._size, len(raw)))
        assert self._file is not None
        place = Place(self._number, self._written, len(raw))
        # written, not mapped: a mapping costs a fault for each page
        if os.pwrite(self._file, raw.data, self._written) != len(raw):
            raise OSError(errno.EIO, "a segment took less than it has room for")
        self._written, self._room = self._written + len(raw), self._room - len(raw)
        return place

    def told(self, place: Place) -> bytes:
        """Return what a `SegmentReader` reads a place by."""
        return f"{self._path(place.segment)} {place.offset} {place.length}".encode()

    def give_up(self, before: int) -> None:
        """Remove the segments before this one; the one that is written stays."""
        while self._oldest < min(before, self._number):
            self._path(self._oldest).unlink(missing_ok=True)
            self._oldest += 1

    def close(self) -> None:
        """Remove all."""
        self.give_up(self._number)
        if self._file is not None:
            os.close(self._file)
            self._path(self._number).unlink(missing_ok=True)
            self._file = None

    def _begin(self, size: int) -> None:
        path = self._path(self._number + 1)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(opened, 0, size)
        except OSError:
            os.close(opened)
            path.unlink()
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._number, self._written, self._room = opened, self._number + 1, 0, size

    def _path(self, segment: int) -> Path:
        return Path(f"{self._base}.{segment}")


class SegmentReader:
    """Reads what `Segments` wrote, without a copy of it."""

    def __init__(self) -> None:
        self._mapped: OrderedDict[bytes, Bytes] = OrderedDict()

    def read(self, told: bytes) -> Bytes:
        """Return the bytes of a place, (n,), as it was told. Raises OSError, ValueError where there are none."""
        if (found := _TOLD.fullmatch(told)) is None:
            raise ValueError(f"expected a place in a segment, got {told!r:.60}")
        path, offset, length = found[1], int(found[2]), int(found[3])
        raw = self._segment(path)[offset : offset + length]
        if len(raw) != length or not length:
            raise ValueError(f"expected {length} bytes at {offset} of a segment, it has {len(raw)} there")
        return raw

    def _segment(self, path: bytes) -> Bytes:
        mapped = self._mapped.get(path)
        if mapped is None:
            with open(path, "rb") as file:
                raw = mmap.mmap(file.fileno(), 0, flags=_MAPS, prot=mmap.PROT_READ)
            mapped = np.frombuffer(raw, np.uint8)
            self._mapped[path] = mapped
            if len(self._mapped) > _MAPPED:
                self._mapped.popitem(last=False)
        return mapped


def memory_of(socket: str, folder: str = "") -> Path:
    """Return what the paths of a relay's segments begin with. Without a folder they lie in the machine's shared memory,
    and where there is none beside the socket.
    """
    path = Path(socket).absolute()
    shared = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else path.parent
    return Path(folder or shared) / f"nextclick-{blake2b(os.fsencode(path), digest_size=6).hexdigest()}"


def remove_left(memory: Path) -> None:
    """Remove the segments that a killed relay left."""
    for left in list(memory.parent.iterdir()):
        if left.name.startswith(memory.name) and _LEFT.fullmatch(left.name[len(memory.name) :]):
            with suppress(OSError):
                left.unlink()
