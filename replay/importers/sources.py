"""Finding and opening what a publisher ships: a file, a folder of files, or a zip of them; gzip and zstd unpacked."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO
from zlib import crc32

import xxhash

from contracts.errors import ImportFormatError
from eventlog.packed import PACKINGS, holds_zip, opened, opened_member, opened_zip

PACKED = ("", *PACKINGS)
BOM = b"\xef\xbb\xbf"
_MARK_DIGITS = 10
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a recording: on disk, or the `member` of a zip."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open as UTF-8; bytes that are none become the replacement character, so that a line stays a line."""
        with self.open_bytes() as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")

    @contextmanager
    def open_bytes(self) -> Iterator[IO[bytes]]:
        """Open for reading lines, unpacked. Reading raises ImportFormatError where the file is cut short or damaged.

        A byte order mark is stepped over by `open_text` alone.
        """
        with opened(self.path) if self.member is None else opened_member(self.path, self.member) as file:
            yield file

    def mark(self) -> str:
        """Return ten hex digits that follow from what the file holds, the same unpacked and inside a zip.

        They stand in the event ids of its lines, so that those of two files differ, and those of one stay.
        """
        checksum, size = 0, 0
        if self.member is not None:
            with opened_zip(self.path) as archive:
                inside = archive.getinfo(self.member)
            checksum, size = inside.CRC, inside.file_size
        else:
            with open(self.path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    checksum, size = crc32(chunk, checksum), size + len(chunk)
        return xxhash.xxh3_64_hexdigest(f"{checksum} {size}".encode())[:_MARK_DIGITS]


def find(source: Path, names: Sequence[str]) -> Source | None:
    """Return the first of `names` (also packed as .gz or .zst) that a folder or a zip holds, at any depth.

    A source that is a plain file is what was asked for, whatever its name. Raises ImportFormatError when there is
    no such file or folder.
    """
    if not source.exists():
        raise ImportFormatError(f"{source}: no such file or folder")
    wanted = [name + packed for name in names for packed in PACKED]
    if source.is_dir():
        inside = {path.name: path for path in sorted(source.rglob("*"), reverse=True) if path.is_file()}
        return next((Source(inside[name]) for name in wanted if name in inside), None)
    if holds_zip(source):
        with opened_zip(source) as archive:
            members = {name.rpartition("/")[2]: name for name in sorted(archive.namelist(), reverse=True)}
        return next((Source(source, members[name]) for name in names if name in members), None)
    return Source(source)


def find_beside(source: Path, names: Sequence[str]) -> Source | None:
    """Return another file of the same recording: in the same folder or zip, beside a file that was named itself."""
    if source.is_file() and not holds_zip(source):
        beside = [source.parent / (name + packed) for name in names for packed in PACKED]
        return next((Source(path) for path in beside if path.is_file()), None)
    return find(source, names)


def expect(source: Path, names: Sequence[str]) -> Source:
    """As `find`; raises ImportFormatError when none is there."""
    found = find(source, names)
    if found is None:
        raise ImportFormatError(f"{source}: expected {' or '.join(names)} in it, found none")
    return found
