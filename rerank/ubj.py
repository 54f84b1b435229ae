"""Reads the binary form that XGBoost writes a model in (UBJSON), so that what serves need not load XGBoost."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import numpy as np

_NUMBERS: Final = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_STRUCTS: Final = {
    mark: Struct(f">{kind}") for mark, kind in zip("iUIlLdD", ("b", "B", "h", "i", "q", "f", "d"), strict=True)
}
_WORDS: Final = {"T": True, "F": False, "Z": None}


def decode(raw: bytes) -> Any:
    """Return what is written: dicts, lists, strings, numbers; an array (n,) where the type of all entries is written.

    Raises ValueError for anything else, and for what is cut short.
    """
    try:
        reader = _Reader(raw)
        found = reader.value(reader.mark())
    except (IndexError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected a model in UBJSON, got something else ({error!r})") from error
    if reader.at != len(raw):
        raise ValueError(f"expected a model in UBJSON, got {len(raw) - reader.at} bytes more")
    return found


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw, self.at = raw, 0

    def mark(self) -> str:
        found = self._raw[self.at]
        self.at += 1
        return chr(found)

    def value(self, mark: str) -> Any:
        if mark in _STRUCTS:
            return self._number(mark)
        if mark in _WORDS:
            return _WORDS[mark]
        readers: dict[str, Callable[[], Any]] = {"S": self._text, "{": self._object, "[": self._array}
        return readers[mark]()

    def _take(self, size: int) -> bytes:
        found = self._raw[self.at : self.at + size]
        if size < 0 or len(found) < size:
            raise IndexError(f"{size} bytes at {self.at}")
        self.at += size
        return found

    def _number(self, mark: str) -> Any:
        form = _STRUCTS[mark]
        return form.unpack(self._take(form.size))[0]

    def _count(self) -> int:
        mark = self.mark()
        if mark not in "iUIlL":
            raise KeyError(mark)
        return int(self._number(mark))

    def _text(self) -> str:
        return self._take(self._count()).decode()

    def _object(self) -> dict[str, Any]:
        found = {}
        while self._raw[self.at] != ord("}"):
            key = self._text()
            found[key] = self.value(self.mark())
        self.at += 1
        return found

    def _array(self) -> Any:
        kind = count = None
        if chr(self._raw[self.at]) == "$":
            self.at += 1
            kind = self.mark()
        if chr(self._raw[self.at]) == "#":
            self.at += 1
            count = self._count()
        if kind is not None and count is not None:
            dtype = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self._take(count * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))
        if count is not None:
            return [self.value(self.mark()) for _ in range(count)]
        found = []
        while chr(self._raw[self.at]) != "]":
            found.append(self.value(self.mark()))
        self.at += 1
        return found
