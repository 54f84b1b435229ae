"""Packed files, read to their end: one that was cut short or is damaged says so, whatever packed it.

Packers tell of it by errors of many families, and zstandard's reader of streams by none: it takes the end of a file for
the end of its content. Whoever reads a file of somebody else's reads it through here.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from zipfile import BadZipFile, ZipFile, is_zipfile

import zstandard

from contracts.errors import ImportFormatError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PACKINGS = (".gz", ".zst")
_AT_ONCE = 1 << 18
_STEP = 1 << 13
"""Packed bytes unpacked together: of zstd no more than 32,768 bytes each, so that a bomb takes bounded memory."""
_DAMAGE = (zstandard.ZstdError, zlib.error, lzma.LZMAError, struct.error, BadZipFile, EOFError)


def damaged(shown: object, why: object) -> ImportFormatError:
    """Return the error of a file that ends too early, or that its packer cannot unpack."""
    return ImportFormatError(
        f"{shown}: it was cut short or is damaged ({' '.join(str(why).split())}): copy or download it again"
    )


@contextmanager
def opened(path: Path, packing: str | None = None) -> Iterator[io.BufferedReader]:
    """Open a file for reading, unpacked: by `packing` (`.gz`, `.zst`, or empty for none), else by its name's end.

    Reading raises ImportFormatError where the file ends too early or is damaged.
    """
    packing = path.suffix if packing is None else packing
    with open(path, "rb") as file:
        if packing not in PACKINGS:
            yield file
            return
        if not file.peek(1):
            raise damaged(path, "it is empty")
        yield _checked(gzip.GzipFile(fileobj=file) if packing == ".gz" else _ZstdFrames(file), path)


@contextmanager
def opened_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """As `opened`, for a text in UTF-8, with or without a byte order mark. Another encoding is an ImportFormatError."""
    with opened(path) as file:
        try:
            yield io.TextIOWrapper(file, encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ImportFormatError(f"{path}: expected UTF-8, got something else ({error})") from error


@contextmanager
def opened_zip(path: Path) -> Iterator[ZipFile]:
    """Open a zip. Raises ImportFormatError when its list of files cannot be read."""
    try:
        archive = ZipFile(path)
    except (*_DAMAGE, ValueError, NotImplementedError, OSError) as error:
        raise _as_damage(path, error) from error
    with archive:
        yield archive


@contextmanager
def opened_member(path: Path, member: str) -> Iterator[io.BufferedReader]:
    """Open a file inside a zip for reading; errors as of `opened`."""
    shown = f"{path}/{member}"
    with opened_zip(path) as archive:
        try:
            file = archive.open(member)
        except (NotImplementedError, RuntimeError) as error:  # packed by something new, or with a password
            raise ImportFormatError(
                f"{shown}: it cannot be unpacked ({error}): unpack it, and name the file"
            ) from error
        except (*_DAMAGE, ValueError, OSError) as error:
            raise _as_damage(shown, error) from error
        with file:
            yield _checked(file, shown)


def holds_zip(path: Path) -> bool:
    """Tell whether a file is a zip. Raises ImportFormatError for one that was one."""
    if is_zipfile(path):
        return True
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                raise damaged(path, "it is a zip without its list of files")
    return False


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes | memoryview: ...


class _Checked(io.RawIOBase):
    """Bytes of a packed file, as they are unpacked. What its packer raises becomes one error that names the file."""

    def __init__(self, source: _Reads, shown: object) -> None:
        self._source, self._shown = source, shown

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        try:
            piece = self._source.read(len(view))
        except (*_DAMAGE, OSError) as error:
            raise _as_damage(self._shown, error) from error
        view[: len(piece)] = piece
        return len(piece)


class _ZstdFrames:
    """The content of a zstd file, frame after frame; raises EOFError when it ends within one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._unpacker = file, zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> memoryview:
        while not self._ready and self._unpack():
            pass
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    def _unpack(self) -> bool:
        """Unpack a step; False at the end."""
        self._packed = self._packed or self._file.read(_STEP)
        if not self._packed:
            if self._frame is not None:
                raise EOFError("it ends within a zstd frame")
            return False
        if self._frame is None:
            self._frame = self._unpacker.decompressobj()
        self._ready = memoryview(self._frame.decompress(self._packed))
        ended = self._frame.eof
        self._packed = self._frame.unused_data if ended else b""
        self._frame = None if ended else self._frame
        return True


def _checked(source: _Reads, shown: object) -> io.BufferedReader:
    return io.BufferedReader(_Checked(source, shown), _AT_ONCE)


def _as_damage(shown: object, error: Exception) -> Exception:
    """Return what to raise: errors of the machine, which have a number, stay what they are."""
    if isinstance(error, OSError) and error.errno not in (None, EINVAL):
        return error
    return damaged(shown, f"expected zstd: {error}" if isinstance(error, zstandard.ZstdError) else error)
