"""Values of rows that are no numbers (ids, documents): packed bytes of a snapshot below, this process's own on top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import index
from typing import Any, Generic, Protocol, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")

_CACHED = 4096
"""Decoded values kept of those that lie packed; all are let go when there are more."""


class Packed(Protocol):
    """Encoded values by row."""

    def __len__(self) -> int: ...

    def raw(self, row: int) -> bytes:
        """Return the encoded value of one row."""


class PackedBytes:
    """Values one behind the other: row r is `blob[ends[r - 1]:ends[r]]`. Both arrays may be memory maps."""

    def __init__(self, blob: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._blob, self._ends = blob, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def raw(self, row: int) -> bytes:
        return self._blob[self._ends[row] : self._ends[row + 1]].tobytes()


class RowValues(Generic[Value]):
    """A value a row, by row number from 0. Packed rows are decoded when asked for; what is set lies on top of them.

    For one thread. Compares equal to a list of the same values.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Value],
        encode: Callable[[Value], bytes],
        packed: Packed | None = None,
    ) -> None:
        self._decode, self._encode = decode, encode
        self._packed = packed
        self._below = len(packed) if packed is not None else 0
        self._over: dict[int, Value] = {}
        self._tail: list[Value] = []
        self._decoded: dict[int, Value] = {}

    def __len__(self) -> int:
        return self._below + len(self._tail)

    def __iter__(self) -> Iterator[Value]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | RowValues) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, number: SupportsIndex) -> Value:
        row = index(number)
        if row < 0:
            row += len(self)
        if row >= self._below:
            return self._tail[row - self._below]
        return self._over[row] if row in self._over else self._unpacked(row)

    def at(self, rows: Iterable[int]) -> list[Value]:
        """Return the values of rows, all 0 or more."""
        if not self._below:
            tail = self._tail
            return [tail[row] for row in rows]
        return [self[row] for row in rows]

    def __setitem__(self, row: int, value: Value) -> None:
        if row >= self._below:
            self._tail[row - self._below] = value
        else:
            self._over[row] = value

    def extend_to(self, count: int, value: Value) -> None:
        """Have at least `count` rows, the new ones holding `value`."""
        self._tail.extend([value] * (count - len(self)))

    def raw(self, row: int) -> bytes:
        """Return a row's value, encoded."""
        if row < self._below and row not in self._over:
            assert self._packed is not None
            return self._packed.raw(row)
        return self._encode(self[row])

    def picked(self, rows: NDArray[Any]) -> RowValues[Value]:
        """Return the named rows as rows 0, 1, 2, ... of their own. This one must not change any more."""
        return RowValues(self._decode, self._encode, _Picked(self, rows.tolist()))

    def _unpacked(self, row: int) -> Value:
        found = self._decoded.get(row)
        if found is None:
            assert self._packed is not None
            if len(self._decoded) >= _CACHED:
                self._decoded.clear()
            found = self._decoded[row] = self._decode(self._packed.raw(row))
        return found


class _Picked:
    def __init__(self, values: RowValues[Any], rows: Sequence[int]) -> None:
        self._values, self._rows = values, rows

    def __len__(self) -> int:
        return len(self._rows)

    def raw(self, row: int) -> bytes:
        return self._values.raw(self._rows[row])
