"""What a command may replace on disk. No other module decides it.

A command writes where nothing is, over an empty file or folder, or over an earlier output of its own kind, which is
known by its content (`FileKind`, `FolderKind`). Anything else is refused before the work begins, and again when it
ends; so are symbolic links, and an output that is also an input. The new file or folder is written aside and renamed:
whatever is interrupted, the old one is whole.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import zstandard

from contracts.errors import OutputRefused

_ZSTD = b"\x28\xb5\x2f\xfd"
_LONGEST_LINE = 8 << 20
_LARGEST_JSON = 512 << 20
_NAMED = 4
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file. `name` says it with its article; `is_one` tells by a file's content, and never raises.
    `streams`: it may also be written into a device or a pipe, as `write_output` does.
    """

    name: str
    is_one: Callable[[Path], bool]
    streams: bool = False


@dataclass(frozen=True, slots=True)
class FolderKind:
    """A kind of folder. `owns` returns the names that one of this kind made, None for a folder of another kind. A
    folder that holds more than that is not replaced: somebody else put it there.
    """

    name: str
    owns: Callable[[Path], frozenset[str] | None]


Kind = FileKind | FolderKind
Output = tuple[Path | None, Kind]
"""Where a command writes, and what; None for an output that was not asked for."""


def expect_outputs(*outputs: Output, inputs: Iterable[Path | None] = ()) -> None:
    """Raise OutputRefused unless every output may be written, is none of the inputs, and is none of the others."""
    given = [path for path in inputs if path is not None]
    taken: list[Path] = []
    for path, kind in outputs:
        if path is None:
            continue
        for other, what in [*((one, "an input") for one in given), *((one, "another output") for one in taken)]:
            if _same_place(path, other):
                raise OutputRefused(f"{path}: expected an output of its own, got {what} too: name another")
        expect_replaceable(path, kind)
        taken.append(path)


def expect_replaceable(path: Path, kind: Kind) -> None:
    """Raise OutputRefused unless nothing is at `path`, or nothing in it, or an earlier output of this kind."""
    if not _may_replace(path, kind):
        raise OutputRefused(
            f"{path}: expected nothing there, or {kind.name} to replace, found {found_at(path)}: it was left as it is; "
            "name another output, or move that away"
        )


def found_at(path: Path) -> str:
    """Say what is at a path, in words, for people."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "nothing"
    if stat.S_ISLNK(mode):
        return f"a symbolic link to {os.readlink(path)}"
    if stat.S_ISDIR(mode):
        return f"a folder with {in_words(sorted(one.name for one in path.iterdir()))}"
    if not stat.S_ISREG(mode):
        return "a device or a pipe"
    with path.open("rb") as file:
        return f"another file ({path.stat().st_size:,} bytes, beginning {file.read(24)!r})"


def in_words(names: list[str]) -> str:
    """List names, the first few of them."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) + more) or "nothing"


@contextmanager
def written_aside(path: Path, kind: FileKind) -> Iterator[Path]:
    """Give a new name beside `path` to write to. Replaces `path` when the body ends well; else leaves all as it was."""
    expect_replaceable(path, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _name_beside(path)
    try:
        yield aside
        expect_replaceable(path, kind)
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


def write_output(path: Path, content: bytes, kind: FileKind) -> None:
    """Write a whole file. A device or a pipe (`/dev/stdout`) takes it as it is."""
    if kind.streams and _is_stream(path):
        path.write_bytes(content)
        return
    with written_aside(path, kind) as aside:
        aside.write_bytes(content)


@contextmanager
def made_aside(folder: Path, kind: FolderKind) -> Iterator[Path]:
    """Give a new, empty folder beside `folder`. It takes the place of `folder` in one step when the body ends well."""
    expect_replaceable(folder, kind)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = _name_beside(folder)
    aside.mkdir()
    try:
        yield aside
        expect_replaceable(folder, kind)
        _put_in_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def exchanged(aside: Path, folder: Path, beside: Path) -> None:
    """Let the folder `aside` take the place of `folder`, and keep that one as `beside`, where nothing may be.

    In one step where the system can. Raises OSError, with `folder` in its place.
    """
    if beside.exists():
        raise OutputRefused(f"{beside}: expected nothing there, to keep what is in {folder}: move it away")
    if _exchange(aside, folder):
        os.rename(aside, beside)
        return
    os.rename(folder, beside)
    try:
        os.rename(aside, folder)
    except BaseException:
        os.rename(beside, folder)
        raise


def json_kind(name: str, *keys: str) -> FileKind:
    """Return the kind of a JSON document that has these keys."""

    def is_one(path: Path) -> bool:
        document = read_document(path)
        return document is not None and all(key in document for key in keys)

    return FileKind(name, is_one, streams=True)


def lines_kind(name: str, is_first: Callable[[Mapping[str, Any]], bool], *, may_be_empty: bool = False) -> FileKind:
    """Return the kind of a file of JSON lines, plain or zstd, whose first one `is_first` knows."""

    def is_one(path: Path) -> bool:
        try:
            line = _first_line(path)
            if not line:
                return may_be_empty
            document = orjson.loads(line)
            return isinstance(document, dict) and is_first(document)
        except (OSError, ValueError, zstandard.ZstdError):
            return False

    return FileKind(name, is_one)


def text_kind(name: str, *marks: str, within: int = 4096) -> FileKind:
    """Return the kind of a text that begins with the first mark, and has the others near its beginning."""

    def is_one(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                head = file.read(within).decode(errors="replace")
        except OSError:
            return False
        return head.startswith(marks[0]) and all(mark in head for mark in marks)

    return FileKind(name, is_one, streams=True)


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, None for anything else."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        document = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


NEW = FileKind("nothing", lambda path: False)
"""A file that is made once and never replaced."""


def _may_replace(path: Path, kind: Kind) -> bool:
    if _is_stream(path):
        return isinstance(kind, FileKind) and kind.streams
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if isinstance(kind, FileKind):
        return stat.S_ISREG(mode) and (not path.stat().st_size or kind.is_one(path))
    if not stat.S_ISDIR(mode):
        return False
    names = {one.name for one in path.iterdir()}
    own = kind.owns(path) if names else frozenset[str]()
    return own is not None and names <= own


def _is_stream(path: Path) -> bool:
    """Tell whether what is written to a path goes somewhere else: a device, a pipe, what /dev/stdout stands for."""
    if path.parent == Path("/dev") and path.exists():
        return True
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _same_place(one: Path, other: Path) -> bool:
    if _is_stream(one):
        return False
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _first_line(path: Path) -> bytes:
    """Return a file's first line, unpacked, without its end; ValueError for one that is too long to be ours."""
    with path.open("rb") as file:
        packed = file.read(len(_ZSTD)) == _ZSTD
        file.seek(0)
        source: Any = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) if packed else file
        read = b""
        while b"\n" not in read and (chunk := source.read(1 << 16)):
            read += chunk
            if len(read) > _LONGEST_LINE:
                raise ValueError("the first line is too long")
    return read.partition(b"\n")[0]


def _name_beside(path: Path) -> Path:
    """Return a name that nobody has: a fixed one could be somebody's file, or a link to one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")


def _put_in_place(aside: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(aside, folder)
        return
    if _exchange(aside, folder):
        return  # the old one lies aside now
    old = _name_beside(folder)
    os.rename(folder, old)
    try:
        os.rename(aside, folder)
    except BaseException:
        os.rename(old, folder)
        raise
    shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    done: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
