"""Changes of a table as arrays: found in what Redis sent, without an object for any of them.

What is not as `state.table_scripts` writes it is no array: `state.table_changes` looks at it, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from compiled.packed import digits_at, number_at
from state.table_changes import TOGETHER, Change, expect_kept_since

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_KEY: Final = 8


@dataclass(frozen=True, slots=True)
class ChangeArrays:
    """n changes, of which `number` is the first one's: of the rows of `keys` (n,), which are numbers of 8 bytes. Row i
    is what `raw` holds from `begins[i]` on, before `ends[i]`; where the two are the same, the row was deleted.
    """

    number: int
    keys: NDArray[np.uint64]
    raw: Bytes
    begins: Places
    ends: Places

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, some: slice) -> ChangeArrays:
        first = some.indices(len(self))[0]
        return ChangeArrays(self.number + first, self.keys[some], self.raw, self.begins[some], self.ends[some])

    def rows(self) -> list[tuple[int, bytes | None]]:
        """Return each change's key and row, None for one that was deleted."""
        places = zip(self.keys.tolist(), self.begins.tolist(), self.ends.tolist(), strict=True)
        return [(key, self.raw[begin:end].tobytes() if begin < end else None) for key, begin, end in places]

    def changes(self) -> list[Change]:
        """Return them one by one."""
        keyed = enumerate(self.rows(), self.number)
        return [Change(number, key.to_bytes(_KEY, "little"), row) for number, (key, row) in keyed]


def read_arrays(answer: Bytes, since: int, entries: int) -> ChangeArrays | None:
    """Return the changes from number `since` on in what Redis answered to an XREAD of one stream, of `entries` at most;
    None where something in it is not as a table's writer leaves it. Raises ChangesTrimmed.
    """
    room = TOGETHER * entries
    keys, places, found = np.empty(room, np.uint64), np.empty((2, room), np.int64), np.zeros(1, np.int64)
    count = _read(answer, keys, places[0], places[1], found)
    if count <= 0:
        return None
    first = int(found[0])
    expect_kept_since(since, first)
    begin = since - first  # of the first entry, where reading stopped in the middle of it
    begins, ends = places
    return ChangeArrays(since, keys[begin:count], answer, begins[begin:count], ends[begin:count])


@kernel(reads("u1"), writes("u8"), writes("i8"), writes("i8"), writes("i8"))
def _read(raw: Bytes, keys: NDArray[np.uint64], begins: Places, ends: Places, first: Places) -> int:
    """Write the changes, and the first one's number; return how many they are, -1 where something is not as expected.
    `raw` is whole, so every part of it ends where it says.
    """
    streams, at = _size(raw, 0, 42)
    parts, at = _size(raw, at, 42)
    name, at = _size(raw, at, 36)
    if streams != 1 or parts != 2 or name < 0:
        return -1
    entries, at = _size(raw, at + name + 2, 42)
    count, next_number = 0, -1
    for _ in range(entries):
        last, told, what, fields, at = _head(raw, at)
        number = last + 1 - told
        if not 0 < told <= keys.shape[0] - count or (next_number >= 0 and number != next_number):
            return -1
        if next_number < 0:
            first[0] = number
        next_number = last + 1
        for _ in range(told):
            size, at = _size(raw, at, 36)
            if size != _KEY:
                return -1
            keys[count] = number_at(raw, at, _KEY)
            at += size + 2
            begins[count] = ends[count] = 0
            if what == 112:  # p
                size, at = _size(raw, at, 36)
                if size < 1:
                    return -1
                begins[count], ends[count] = at, at + size
                at += size + 2
            count += 1
        for _ in range(fields):
            size, at = _size(raw, at, 36)
            if size < 0:
                return -1
            at += size + 2
    return count


@inlined
def _head(raw: Any, at: Any) -> Any:
    """Read the head of an entry. Return the number of its last change, the count of changes, the first letter of what
    was done, the count of fields behind the changes, and where the first field begins. The count of changes is 0 for
    what is no entry.
    """
    parts, at = _size(raw, at, 42)
    name, at = _size(raw, at, 36)
    if parts != 2 or name < 3 or raw[at + name - 2] != 45 or raw[at + name - 1] != 49:  # -1
        return 0, 0, 0, 0, at
    last, at = digits_at(raw, at, at + name - 2), at + name + 2
    fields, at = _size(raw, at, 42)
    word, at = _size(raw, at, 36)
    if last < 0 or fields < 2 or word < 0:
        return 0, 0, 0, 0, at
    what, is_known = raw[at], _is_word(raw, at, word)
    size, at = _size(raw, at + word + 2, 36)
    told = digits_at(raw, at, at + size)
    left = fields - 2 - (2 * told if what == 112 else told)
    if not is_known or told < 1 or left < 0 or (what == 112 and left > 0):
        return 0, 0, 0, 0, at
    return last, told, np.int64(what), left, at + size + 2


@inlined
def _is_word(raw: Any, at: Any, size: Any) -> Any:
    """Tell whether these bytes are `put` or `delete`."""
    if size == 3:
        return raw[at] == 112 and raw[at + 1] == 117 and raw[at + 2] == 116
    if size != 6 or raw[at] != 100 or raw[at + 1] != 101 or raw[at + 2] != 108:
        return False
    return raw[at + 3] == 101 and raw[at + 4] == 116 and raw[at + 5] == 101


@inlined
def _size(raw: Any, at: Any, kind: Any) -> Any:
    """Return what the size of a part of this kind is, and where what it is the size of begins; -1 for another part."""
    if at >= raw.shape[0] or raw[at] != kind:
        return -1, at
    end = at + 1
    while end < raw.shape[0] and raw[end] != 13:
        end += 1
    return digits_at(raw, at + 1, end), end + 2
