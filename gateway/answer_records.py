"""Answers that are kept: what each was made of, in files of an hour, so that `nextclick explain` makes it again.

A record is written by a thread, after the answer went out. Rows of items are written once a file. Files are dropped
when they are older than is asked for, or together larger than may be, the oldest first.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

import msgspec
import orjson
import zstandard

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from gateway.background_writer import BackgroundWriter
from gateway.settings import AnswerOptions
from rerank.kept import Kept, item_bytes, pack

PREFIX: Final = "answers-"
SUFFIX: Final = ".kept"
FILE_MS: Final = 3_600_000
_HEADER: Final = struct.Struct("<16sQI")
"""Request id (zeros: items), epoch milliseconds, length of what follows."""
_ITEMS: Final = bytes(16)
_RECORD: Final = msgspec.msgpack.Decoder(tuple[bytes, dict[str, Any], list[bytes]])
_ROWS: Final = msgspec.msgpack.Decoder(dict[int, bytes], strict=False)
_TIME: Final = "%Y%m%dT%H%M%S"
_NAME: Final = re.compile(rf"{PREFIX}\d{{8}}T\d{{6}}-\d+{re.escape(SUFFIX)}")


class AnswersNotKept(NextclickError):
    """Answers cannot be kept; serving goes on without."""


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer as it was given, and its one ranking, or two where it is interleaved."""

    request_id: str
    at_ms: int
    answer: dict[str, Any]
    rankings: Sequence[Kept]
    about: dict[str, Any]
    """What made it: versions and settings, as JSON."""


class AnswerKeeper:
    """Takes answers and writes them. One for each process; use from its event loop."""

    def __init__(
        self, options: AnswerOptions, about: Callable[[], dict[str, Any]], *, clock: Callable[[], int] = wall_clock_ms
    ) -> None:
        """`about` says which versions serve now."""
        self._options, self._clock, self.about = options, clock, about
        self._folder = Path(options.to)
        self._below = int(options.share * 2**32)
        self._file: FileIO | None = None
        self._opened_ms, self._ended = 0, False
        self._written: set[int] = set()
        self._packer = zstandard.ZstdCompressor(level=3)
        self.line: BackgroundWriter[KeptAnswer] = BackgroundWriter(
            self._write, name="kept answers", max_waiting=options.max_waiting, max_batch=64
        )

    def wants(self, request_id: str) -> bool:
        """Tell whether an answer is of the share that is kept."""
        return int(request_id[:8], 16) < self._below

    async def begin_anew(self, timeout_s: float) -> None:
        """Write what waits, and begin another file: the one before may be written again by others."""
        await self.line.settled(timeout_s)
        self._ended = True

    async def close(self, timeout_s: float) -> None:
        await self.line.close(timeout_s)
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _write(self, answers: Sequence[KeptAnswer]) -> None:
        await asyncio.to_thread(self._append, answers)

    def _append(self, answers: Sequence[KeptAnswer]) -> None:
        try:
            for one in answers:
                file = self._current()
                _append(file, b"".join(self._frames(one)))
        except OSError as error:
            if self._file is not None:
                self._file.close()
            self._file = None  # the next file has all rows of its own
            raise AnswersNotKept(f"{self._folder}: answers cannot be kept here ({error})") from error

    def _frames(self, one: KeptAnswer) -> Iterator[bytes]:
        fresh: dict[int, bytes] = {}
        packed: list[bytes] = []
        for kept in one.rankings:
            refs: list[bytes | int] = []
            for item in kept.items:
                if item.digest and item.digest not in self._written:
                    fresh[item.digest] = item_bytes(item)
                    self._written.add(item.digest)
                refs.append(item.digest or item_bytes(item))
            packed.append(pack(kept, refs))
        if fresh:
            yield self._frame(_ITEMS, one.at_ms, msgspec.msgpack.encode(fresh))
        body = orjson.dumps(one.answer, option=orjson.OPT_SERIALIZE_NUMPY)
        yield self._frame(bytes.fromhex(one.request_id), one.at_ms, msgspec.msgpack.encode([body, one.about, packed]))

    def _frame(self, name: bytes, at_ms: int, content: bytes) -> bytes:
        data = self._packer.compress(content)
        return _HEADER.pack(name, at_ms, len(data)) + data

    def _current(self) -> FileIO:
        now_ms = self._clock()
        if self._file is not None and now_ms - self._opened_ms < FILE_MS and not self._ended:
            return self._file
        if self._file is not None:
            self._file.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        drop_old(self._folder, now_ms - int(self._options.keep.total_seconds() * 1000), self._options.bytes)
        self._file = FileIO(self._free_name(now_ms), "ab", opener=_for_us_alone)  # it says what visitors did
        self._opened_ms, self._ended, self._written = now_ms, False, set()
        return self._file

    def _free_name(self, now_ms: int) -> Path:
        """Return the path of a file begun now; where this process began one in the same second, of the next."""
        while True:
            at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime(_TIME)
            path = self._folder / f"{PREFIX}{at}-{os.getpid()}{SUFFIX}"
            if not path.exists():
                return path
            now_ms += 1000


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _append(file: FileIO, content: bytes) -> None:
    """Append all of it, or nothing. Raises OSError."""
    left, size = memoryview(content), file.seek(0, os.SEEK_END)
    try:
        while left:  # a disk that fills up takes some of it first
            left = left[file.write(left) :]
    except OSError:
        file.truncate(size)
        raise


def files_in(folder: Path) -> list[Path]:
    """Return the files of kept answers, the oldest first: those of the very names that are written here."""
    return sorted(path for path in folder.glob(f"{PREFIX}*{SUFFIX}") if _is_ours(path))


def _is_ours(path: Path) -> bool:
    try:
        return _NAME.fullmatch(path.name) is not None and _began_ms(path) >= 0 and S_ISREG(path.lstat().st_mode)
    except (ValueError, OSError):  # a name with no moment in it; a file that another process dropped
        return False


def drop_old(folder: Path, before_ms: int, most: int) -> None:
    """Remove files that hold only answers from before a moment, and the oldest of more than `most` bytes."""
    files = files_in(folder)
    left = sum(path.stat().st_size for path in files)
    for path in files:
        if left <= most and _began_ms(path) + FILE_MS >= before_ms:
            continue
        left -= path.stat().st_size
        path.unlink(missing_ok=True)


def _began_ms(path: Path) -> int:
    """Return when a file was begun, by its name."""
    at = datetime.strptime(path.name.removeprefix(PREFIX).split("-")[0], _TIME)
    return int(at.replace(tzinfo=UTC).timestamp() * 1000)


def find(folder: Path, request_id: str) -> tuple[bytes, dict[str, Any], list[bytes], dict[int, bytes]] | None:
    """Return an answer's body, what is said about it, its rankings and the items of its file; None where it is not
    kept. A record that was cut short, by a crash or a full disk, ends its file. Raises AnswersNotKept for one that is
    damaged.
    """
    name = bytes.fromhex(request_id)
    unpacker = zstandard.ZstdDecompressor()
    for path in reversed(files_in(folder)):
        items: list[bytes] = []
        for _, found, data in frames_of(path):
            if found == _ITEMS:
                items.append(data)
            elif found == name:
                try:
                    body, about, packed = _RECORD.decode(unpacker.decompress(data))
                    named: dict[int, bytes] = {}
                    for one in items:
                        named |= _ROWS.decode(unpacker.decompress(one))
                except (zstandard.ZstdError, msgspec.DecodeError, MemoryError) as error:
                    raise AnswersNotKept(f"{path}: the answer is damaged there: {error}") from error
                return body, about, packed, named
    return None


def bodies(folder: Path, request_ids: Collection[str]) -> Iterator[bytes]:
    """Yield the bodies of kept answers by their request ids; what is damaged, or goes meanwhile, is passed by."""
    names = {bytes.fromhex(one) for one in request_ids if len(one) == 32 and set(one) <= set("0123456789abcdef")}
    unpacker = zstandard.ZstdDecompressor()
    for path in files_in(folder) if names else ():
        with suppress(FileNotFoundError):
            for _, name, packed in frames_of(path):
                if name in names:
                    with suppress(zstandard.ZstdError, msgspec.DecodeError):
                        yield _RECORD.decode(unpacker.decompress(packed))[0]


def frames_of(path: Path) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the records of a file: header, request id (zeros: items), and what was packed."""
    with open(path, "rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            name, _, length = _HEADER.unpack(header)
            data = file.read(length)
            if len(data) < length:
                return
            yield header, name, data
