"""Which row of the columns an ItemKey stands in: one hash table for all replicas.

ItemKeys are uniform 64-bit hashes, so their low bits are the slot (open addressing, linear probing; Knuth,
TAOCP 6.4, removal by its algorithm R). A key keeps its row until it is removed; most columns never do that, and have
tombstones instead. The row of a key that was removed is given to the next one that is new.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from compiled.lookups import row_of

Keys = NDArray[np.uint64]
Rows = NDArray[np.int32]
"""Row numbers of one replica. Those of the catalogue and of the trends differ: go from one to the other by keys."""

_MIN_SLOTS = 64


class KeyRows:
    """Rows 0, 1, 2, ... in the order in which keys were first added. For one thread."""

    __slots__ = ("_count", "_free", "_slot_keys", "_slot_rows")

    def __init__(self) -> None:
        self._count = 0
        self._free: list[int] = []
        self._reset(_MIN_SLOTS)

    def __len__(self) -> int:
        """How many rows there are, with those that are free."""
        return self._count

    @property
    def held(self) -> int:
        """How many keys have a row."""
        return self._count - len(self._free)

    @classmethod
    def with_room(cls, rows: int) -> Self:
        """Return an empty one that takes `rows` rows before it grows."""
        made = cls()
        slots = _MIN_SLOTS
        while slots < 2 * rows:
            slots *= 2
        made._reset(slots)
        return made

    @classmethod
    def over(cls, slot_keys: Keys, slot_rows: Rows, count: int) -> Self:
        """Return one over the `slots` of another that held `count` keys; the arrays may be memory maps."""
        made = cls()
        made._count, made._free, made._slot_keys, made._slot_rows = count, [], slot_keys, slot_rows
        return made

    @property
    def slots(self) -> tuple[Keys, Rows]:
        """The table itself: keys and rows by slot, -1 where a slot is free."""
        return self._slot_keys, self._slot_rows

    def rows_of(self, keys: Keys) -> Rows:
        """Return the row of every key, int32 of the shape given; -1 where the key was never added."""
        asked = np.ascontiguousarray(keys, np.uint64)
        rows = np.empty(asked.shape, np.int32)
        _rows_of(self._slot_keys, self._slot_rows, asked.reshape(-1), rows.reshape(-1))
        return rows

    def add(self, keys: Keys) -> Rows:
        """Return the row of every key, (n,), giving free rows, then the next ones, to keys that are new. Keys must be
        distinct.
        """
        rows = self.rows_of(keys)
        new = np.flatnonzero(rows < 0)
        if len(new):
            again = [self._free.pop() for _ in range(min(len(self._free), len(new)))]
            numbers = np.empty(len(new), np.int32)
            numbers[: len(again)] = again
            numbers[len(again) :] = np.arange(self._count, self._count + len(new) - len(again))
            rows[new] = numbers
            self._count += len(new) - len(again)
            if 2 * self._count > len(self._slot_rows):
                self._grow()
            _place(self._slot_keys, self._slot_rows, keys[new], numbers)
        return rows

    def remove(self, keys: Keys) -> None:
        """Take out keys, all different, that have a row: the rows are free."""
        rows = np.empty(len(keys), np.int32)
        _remove(self._slot_keys, self._slot_rows, np.ascontiguousarray(keys, np.uint64), rows)
        self._free += rows.tolist()

    def _reset(self, slots: int) -> None:
        self._slot_keys = np.zeros(slots, np.uint64)
        self._slot_rows = np.full(slots, -1, np.int32)

    def _grow(self) -> None:
        held = self._slot_rows >= 0
        keys, rows = self._slot_keys[held], self._slot_rows[held]
        slots = len(self._slot_rows)
        while slots < 4 * self._count:
            slots *= 2
        self._reset(slots)
        _place(self._slot_keys, self._slot_rows, keys, rows)


@kernel(reads("u8"), reads("i4"), reads("u8"), writes("i4"))
def _rows_of(slot_keys: Keys, slot_rows: Rows, keys: Keys, rows: Rows) -> None:
    for at in range(keys.shape[0]):
        rows[at] = row_of(slot_keys, slot_rows, keys[at])


@kernel(writes("u8"), writes("i4"), reads("u8"), reads("i4"))
def _place(slot_keys: Keys, slot_rows: Rows, keys: Keys, rows: Rows) -> None:
    """Put absent keys, all different, into free slots."""
    mask = slot_keys.shape[0] - 1
    for at in range(keys.shape[0]):
        slot = np.int64(keys[at] & np.uint64(mask))
        while slot_rows[slot] >= 0:
            slot = (slot + 1) & mask
        slot_keys[slot], slot_rows[slot] = keys[at], rows[at]


@kernel(writes("u8"), writes("i4"), reads("u8"), writes("i4"))
def _remove(slot_keys: Keys, slot_rows: Rows, keys: Keys, rows: Rows) -> None:
    """Empty the slots of keys that are there, and tell their rows: what was moved on by them moves back."""
    mask = slot_keys.shape[0] - 1
    for at in range(keys.shape[0]):
        slot = np.int64(keys[at] & np.uint64(mask))
        while slot_keys[slot] != keys[at] or slot_rows[slot] < 0:
            slot = (slot + 1) & mask
        rows[at] = slot_rows[slot]
        slot_rows[slot] = -1
        follower = (slot + 1) & mask
        while slot_rows[follower] >= 0:
            home = np.int64(slot_keys[follower] & np.uint64(mask))
            if ((follower - home) & mask) >= ((follower - slot) & mask):
                slot_keys[slot], slot_rows[slot] = slot_keys[follower], slot_rows[follower]
                slot_rows[follower] = -1
                slot = follower
            follower = (follower + 1) & mask
