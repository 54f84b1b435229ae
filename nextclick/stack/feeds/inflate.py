"""Bytes as they come, within bounds of size and time, decompressed where they are compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from connect.feeds.rows import FeedBroken

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_STEP: Final = 1 << 18
_LAYERS: Final = 2
"""A `.gz` file that a server compresses once more."""


def bounded(chunks: Iterable[bytes], most: int, count: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """Yield chunks of at most `most` bytes together. Raises FeedBroken for more."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        count(len(chunk))
        if size > most:
            raise FeedBroken(f"expected a feed of at most {most:,} bytes (feeds.most_bytes), got more")
        yield chunk


def inflated(chunks: Iterable[bytes], most: int, layers: int = _LAYERS) -> Iterator[bytes]:
    """Yield what chunks hold: those of gzip, by their first bytes, decompressed, a little at a time.

    Raises FeedBroken where it comes to more than `most` bytes, ends too early, is damaged, or is a zip archive.
    """
    pieces = iter(chunks)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= 4:
            break
    if head.startswith(_ZIP):
        raise FeedBroken("expected a feed, or one in gzip, got a zip archive: publish it as it is, or as .gz")
    whole = _again(head, pieces)
    if head.startswith(_GZIP) and layers:
        return inflated(bounded(_gunzip(whole), most), most, layers - 1)
    return whole


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip of one or several members. What comes of a chunk comes in steps, however much that is."""
    member = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if member.eof:
                    if not rest.strip(b"\0"):  # padding
                        break
                    member = zlib.decompressobj(31)
                if made := member.decompress(rest, _STEP):
                    yield made
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise FeedBroken(f"expected gzip, got something else or damaged: {error}") from error
    if not member.eof:
        raise FeedBroken("expected whole gzip, got an end in its middle: the feed is cut off")


def _again(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from pieces
