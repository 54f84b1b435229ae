"""Answers of Redis that are arrays, as the bytes that Redis sent: for who reads them without an object a row."""

from __future__ import annotations

from typing import Any, Final

import hiredis
import numpy as np
import redis
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.packed import digits_at

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_ARRAY: Final = ord("*")
_MORE, _WHOLE, _WRONG = range(3)


class RawAnswers:
    """As a hiredis.Reader (`feed`, `gets`), but an answer that is an array comes as its bytes, (n,), in RESP2.

    Raises redis.InvalidResponse for what is no answer.
    """

    def __init__(self) -> None:
        self._plain = plain_reader()
        self._fed: bytes | bytearray = b""
        self._begin = 0
        self._place = np.array([0, 1])

    def feed(self, fed: bytes) -> None:
        """Take what came."""
        if self._begin == len(self._fed):
            self._fed, self._begin = fed, 0
            return
        if not isinstance(self._fed, bytearray):
            self._fed = bytearray(memoryview(self._fed)[self._begin :])
            self._begin = 0
        self._fed += fed

    def gets(self) -> Any:
        """Return the next answer; False while the rest of it is still to come."""
        if self._begin == len(self._fed):
            return False
        raw = np.frombuffer(self._fed, np.uint8, offset=self._begin)
        found, size = _framed(raw, self._place), int(self._place[0])
        if found == _MORE:
            return False
        if found == _WRONG:
            raise redis.InvalidResponse(f"expected an answer of Redis, got {raw[:60].tobytes()!r}")
        self._place[:] = 0, 1
        if isinstance(self._fed, bytearray):  # it is the answer's now: one that grew could not be looked at
            self._fed, self._begin = bytes(memoryview(self._fed)[self._begin + size :]), 0
        else:
            self._begin += size
        answer = raw[:size]
        return answer if raw[0] == _ARRAY and raw[1] != ord("-") else self._read(answer)

    def _read(self, answer: Bytes) -> Any:
        self._plain.feed(answer.tobytes())
        return self._plain.gets()


def prepared() -> None:
    """Have the kernel ready that looks at answers: its first call may take seconds, and who waits for Redis has not."""
    _framed(np.zeros(0, np.uint8), np.array([0, 1]))


def plain_reader() -> hiredis.Reader:
    """Return what reads answers into Python's objects."""
    return hiredis.Reader(protocolError=redis.InvalidResponse, replyError=redis.ResponseError)


def plain(answer: Bytes) -> Any:
    """Return the objects that an answer's bytes are."""
    reader = plain_reader()
    reader.feed(answer.tobytes())
    return reader.gets()


@kernel(reads("u1"), writes("i8"))
def _framed(raw: Bytes, place: Places) -> int:
    """Go on through an answer from `place`: where its next part begins, and how many parts are still to come. Returns
    `_MORE` where it is not whole, `_WRONG` where it is none.
    """
    while place[1] > 0:
        at = place[0]
        line = _line_end(raw, at)
        if line < 0:
            return _MORE
        kind = raw[at]
        if kind in (43, 45, 58):  # + - :
            place[0], place[1] = line + 2, place[1] - 1
            continue
        is_none = line == at + 3 and raw[at + 1] == 45 and raw[at + 2] == 49  # -1
        size = digits_at(raw, at + 1, line)
        if kind not in (36, 42) or (size < 0 and not is_none):  # $ *
            return _WRONG
        if kind == 42:
            place[0], place[1] = line + 2, place[1] - 1 + max(size, 0)
            continue
        after = line + 2 + (size + 2 if size >= 0 else 0)
        if after > raw.shape[0]:
            return _MORE
        place[0], place[1] = after, place[1] - 1
    return _WHOLE


@inlined
def _line_end(raw: Any, at: Any) -> Any:
    """Return where the line that begins at `at` ends; -1 where it does not yet."""
    for end in range(at, raw.shape[0] - 1):
        if raw[end] == 13 and raw[end + 1] == 10:
            return end
    return -1
