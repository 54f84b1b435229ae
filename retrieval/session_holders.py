"""Which sessions hold each item: one list an item, all in one array, so that a kernel can read them.

A list that is full moves to the end of the array with twice its room. When the array is full, all lists move to a new
one, each with the room that it needs now: the array has at most some four times as many places as there are entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from retrieval.columns import grown
from retrieval.key_rows import Rows

_FIRST_ROOM = 4
"""Places of a list that has just begun."""


class SessionHolders:
    """By number of an item, the rows of the sessions that hold it. For one thread.

    A list is in the order of when its sessions began, then of rows, the newest last; or it is marked as unsorted, and
    `sort` must come before anything else reads it.
    """

    def __init__(self) -> None:
        self.rows: Rows = np.zeros(0, np.int32)
        """All lists, with gaps between them."""
        self.begins = np.zeros(0, np.int64)
        """By number, where the list begins."""
        self.counts = np.zeros(0, np.int32)
        """By number, how many sessions hold the item."""
        self._rooms = np.zeros(0, np.int32)
        self._unsorted = np.zeros(0, np.bool_)
        self._any_unsorted = False
        self._end = np.zeros(1, np.int64)

    def extend_to(self, items: int) -> None:
        """Have a list for each of so many items."""
        self.begins, self.counts = grown(self.begins, items), grown(self.counts, items)
        self._rooms, self._unsorted = grown(self._rooms, items), grown(self._unsorted, items, fill=False)

    def add(self, rows: Rows, numbers: Rows, started: NDArray[np.int64], *, may_wait: bool) -> None:
        """Put sessions in rows (n,), which began at `started` by row, on the lists of items `numbers` (n,).

        `may_wait` leaves what comes out of order to be sorted when it is first asked.
        """
        done = 0
        while True:
            lists = (self.rows, self.begins, self.counts, self._rooms, self._unsorted, self._end)
            done = _add(*lists, rows, numbers, started, done, may_wait)
            self._any_unsorted = self._any_unsorted or may_wait
            if done == len(rows):
                return
            self._make_room(int(numbers[done]))

    def remove(self, rows: Rows, numbers: Rows, started: NDArray[np.int64]) -> None:
        """Take sessions in rows (n,) off the lists of items `numbers` (n,), which they are on."""
        self.sort(numbers, started)
        _remove(self.rows, self.begins, self.counts, rows, numbers, started)

    def sort(self, numbers: Rows, started: NDArray[np.int64]) -> None:
        """Sort those lists of items `numbers`, of any shape and -1 for none, that are not."""
        if not self._any_unsorted:
            return
        known = numbers[numbers >= 0]
        for number in np.unique(known[self._unsorted[known]]).tolist():
            mine = slice(int(self.begins[number]), int(self.begins[number] + self.counts[number]))
            held = self.rows[mine]
            self.rows[mine] = held[np.lexsort((held, started[held]))]
            self._unsorted[number] = False

    def _make_room(self, number: int) -> None:
        """Move all lists to a new array, the list of `number` with twice its room."""
        rooms = self.counts.copy()
        rooms[number] = 2 * max(rooms[number], _FIRST_ROOM)
        begins = np.cumsum(rooms, dtype=np.int64) - rooms
        moved = np.empty(max(1024, 2 * int(rooms.sum(dtype=np.int64))), np.int32)
        _move(self.rows, self.begins, self.counts, begins, moved)
        self.rows, self.begins, self._rooms = moved, begins, rooms
        self._end[0] = int(rooms.sum(dtype=np.int64))


@kernel(
    *(writes("i4"), writes("i8"), writes("i4"), writes("i4"), writes("?"), writes("i8")),
    *(reads("i4"), reads("i4"), reads("i8"), "i8", "b1"),
)
def _add(
    lists: Rows,
    begins: NDArray[np.int64],
    counts: Rows,
    rooms: Rows,
    unsorted: NDArray[np.bool_],
    end: NDArray[np.int64],
    rows: Rows,
    numbers: Rows,
    started: NDArray[np.int64],
    first: int,
    may_wait: bool,
) -> int:
    """Add the entries from `first` on; return the first one for whose list there is no room, or how many there are."""
    for entry in range(first, rows.shape[0]):
        row, number = rows[entry], numbers[entry]
        count: Any = np.int64(counts[number])
        if count == rooms[number]:
            room = 2 * max(count, _FIRST_ROOM)
            if end[0] + room > lists.shape[0]:
                return entry
            for at in range(count):
                lists[end[0] + at] = lists[begins[number] + at]
            begins[number], rooms[number] = end[0], room
            end[0] += room
        begin = begins[number]
        at = begin + count
        if count > 0 and not unsorted[number] and _is_before(row, lists[at - 1], started):
            if may_wait:
                unsorted[number] = True
            else:
                at = _place_of(lists, begin, count, row, started)
                for later in range(begin + count, at, -1):
                    lists[later] = lists[later - 1]
        lists[at] = row
        counts[number] = count + 1
    return int(rows.shape[0])


@kernel(writes("i4"), reads("i8"), writes("i4"), reads("i4"), reads("i4"), reads("i8"))
def _remove(
    lists: Rows,
    begins: NDArray[np.int64],
    counts: Rows,
    rows: Rows,
    numbers: Rows,
    started: NDArray[np.int64],
) -> None:
    for entry in range(rows.shape[0]):
        begin, count = begins[numbers[entry]], np.int64(counts[numbers[entry]])
        at = _place_of(lists, begin, count, rows[entry], started)
        for later in range(at, begin + count - 1):
            lists[later] = lists[later + 1]
        counts[numbers[entry]] = count - 1


@kernel(reads("i4"), reads("i8"), reads("i4"), reads("i8"), writes("i4"))
def _move(lists: Rows, begins: NDArray[np.int64], counts: Rows, to: NDArray[np.int64], moved: Rows) -> None:
    for number in range(counts.shape[0]):
        for at in range(counts[number]):
            moved[to[number] + at] = lists[begins[number] + at]


@inlined
def _is_before(one: Any, other: Any, started: Any) -> Any:
    """Return whether a session comes before another one in a list."""
    return started[one] < started[other] or (started[one] == started[other] and one < other)


@inlined
def _place_of(lists: Any, begin: Any, count: Any, row: Any, started: Any) -> Any:
    """Return where a session stands in a sorted list, or would."""
    low, high = begin, begin + count
    while low < high:
        middle = (low + high) >> 1
        if _is_before(lists[middle], row, started):
            low = middle + 1
        else:
            high = middle
    return low
