"""Finding and opening what a publisher ships: a file, a folder of files, or a zip of them; gzip and zstd unpacked."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

import zstandard

from contracts.errors import ImportFormatError

PACKED = ("", ".gz", ".zst")


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
        """Open for reading lines, unpacked."""
        if self.member is not None:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                yield file
            return
        with open(self.path, "rb") as file:
            if self.path.suffix == ".gz":
                yield io.BufferedReader(gzip.GzipFile(fileobj=file))
            elif self.path.suffix == ".zst":
                yield io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
            else:
                yield file


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
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            members = {name.rpartition("/")[2]: name for name in sorted(archive.namelist(), reverse=True)}
        return next((Source(source, members[name]) for name in names if name in members), None)
    return Source(source)


def find_beside(source: Path, names: Sequence[str]) -> Source | None:
    """Return another file of the same recording: in the same folder or zip, beside a file that was named itself."""
    if source.is_file() and not zipfile.is_zipfile(source):
        beside = [source.parent / (name + packed) for name in names for packed in PACKED]
        return next((Source(path) for path in beside if path.is_file()), None)
    return find(source, names)


def expect(source: Path, names: Sequence[str]) -> Source:
    """As `find`; raises ImportFormatError when none is there."""
    found = find(source, names)
    if found is None:
        raise ImportFormatError(f"{source}: expected {' or '.join(names)} in it, found none")
    return found
