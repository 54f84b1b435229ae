"""Lines of text from chunks of bytes, in whatever encoding a shop's export has."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from connect.feeds.rows import MOST_ITEM_BYTES, Chunks, FeedBroken

_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(slots=True)
class Encodings:
    """Which encodings were taken, by lines: counted while they are read."""

    lines: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(f"{name} ({count:,} lines)" for name, count in self.lines.most_common())


def text_lines(chunks: Chunks, taken: Encodings, most: int = MOST_ITEM_BYTES) -> Iterator[str]:
    """Yield lines with their ends. UTF-8 with or without its mark, UTF-16 with its mark; a line that is no UTF-8 is
    read as Latin-1 (as Windows-1252 where that says more), and counted. Raises FeedBroken for a line of over `most`
    bytes.
    """
    whole, mark = _in_utf8(chunks), "utf-8"
    encoding = whole.name
    for raw in byte_lines(whole.pieces, most):
        if not taken.lines and raw.startswith(codecs.BOM_UTF8):
            mark = encoding = "utf-8-sig"
        try:
            text, name = raw.decode(mark), encoding
        except UnicodeDecodeError:
            text, name = _western(raw)
        if not taken.lines or not raw.isascii() or encoding != "utf-8":
            taken.lines[name] += 1
        mark = "utf-8"
        yield text


def byte_lines(chunks: Chunks, most: int = MOST_ITEM_BYTES) -> Iterator[bytes]:
    """Yield lines with their ends, in memory of a chunk and a line. Raises FeedBroken for one of over `most` bytes."""
    rest, count = b"", 0
    for chunk in chunks:
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        for part in parts:
            count += 1
            yield part + b"\n"
        if len(rest) > most:
            raise FeedBroken(f"expected a line of at most {most:,} bytes, got a longer one", count + 1)
    if rest:
        yield rest


def _western(raw: bytes) -> tuple[str, str]:
    """Decode what is no UTF-8. Bytes 128 to 159 are letters in Windows-1252, and control characters in Latin-1."""
    if any(128 <= byte < 160 for byte in raw):
        try:
            return raw.decode("cp1252"), "windows-1252"
        except UnicodeDecodeError:
            pass
    return raw.decode("latin-1"), "latin-1"


@dataclass(frozen=True, slots=True)
class _Utf8:
    """Chunks in UTF-8, and the encoding that they came in."""

    pieces: Iterable[bytes]
    name: str


def _in_utf8(chunks: Chunks) -> _Utf8:
    """Return the chunks; those of UTF-16, which begins with its mark, as UTF-8."""
    pieces = iter(chunks)
    head = b""
    for chunk in pieces:
        head += chunk
        if len(head) >= 2:
            break
    for mark, name in _MARKS:
        if head.startswith(mark):
            return _Utf8(_recoded(head[2:], pieces, name), name)
    return _Utf8(_again(head, pieces), "utf-8")


def _recoded(head: bytes, pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)("replace")
    for piece in _again(head, pieces):
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _again(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from pieces
