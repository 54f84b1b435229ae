"""Compressed bodies, made large again in steps of bounded work: a few bytes may stand for a gigabyte."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from gateway.problems import Refused, malformed

TAKEN: Final = ("gzip", "deflate")
"""Content encodings that are taken, beside none."""

_PIECE_IN, _PIECE_OUT = 16_384, 65_536
"""Bytes that one step reads and makes, at most."""
_MOST_MEMBERS: Final = 4096
"""A gzip stream may be several, one after the other; the smallest takes 20 bytes and holds nothing."""


class Inflater:
    """Decompresses one body. Raises Refused (400) for what is not what its encoding says."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._member: zlib._Decompress | None = None
        self._members = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` stands for, a step at a time; a piece may be empty."""
        for at in range(0, len(data), _PIECE_IN):
            rest, more = data[at : at + _PIECE_IN], False
            while rest or more:
                member = self._member = self._member or self._begun(rest)
                try:
                    piece = member.decompress(rest, _PIECE_OUT)
                except zlib.error as error:
                    raise malformed(f"the body is not {self._encoding}, as its Content-Encoding says") from error
                yield piece
                if member.eof:
                    rest, more, self._member = self._after(member), False, None
                else:
                    rest, more = member.unconsumed_tail, len(piece) == _PIECE_OUT

    def finish(self) -> None:
        """Expect the end here. Raises Refused (400) for a body that was cut short."""
        if self._member is not None:
            raise malformed(f"the body ends before its {self._encoding} stream does: it was cut short")

    def _begun(self, first: bytes) -> zlib._Decompress:
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise malformed(f"expected at most {_MOST_MEMBERS} {self._encoding} streams in one body: send it in parts")
        if self._encoding == "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        has_header = first[0] & 0x0F == 8  # some senders leave zlib's header out
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)

    def _after(self, member: zlib._Decompress) -> bytes:
        """Return what comes after the end of a stream: zeros fill a file up, and of gzip another may follow."""
        rest = member.unused_data.lstrip(b"\0")
        if rest and self._encoding != "gzip":
            raise malformed(f"expected the body to end with its {self._encoding} stream, got more bytes after it")
        return rest


def inflater_of(request: web.BaseRequest) -> Inflater | None:
    """Return what a request's body is decompressed with, None for one that is plain. Raises Refused (415)."""
    named = request.headers.get(hdrs.CONTENT_ENCODING)
    if named is None:
        return None
    encoding = ", ".join(request.headers.getall(hdrs.CONTENT_ENCODING)).strip().lower().removeprefix("x-")
    if encoding in ("", "identity"):
        return None
    if encoding not in TAKEN:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected Content-Encoding {' or '.join(TAKEN)}, or none, got {encoding[:100]!r}",
            headers={hdrs.ACCEPT_ENCODING: ", ".join(TAKEN)},
        )
    return Inflater(encoding)
