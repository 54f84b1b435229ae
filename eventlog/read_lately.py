"""What a reader has read of its partitions lately: how it tells where a log went back.

A primary of a Redis Cluster that dies takes along what its replica had not got. Other records get those offsets. A
flow whose state lies in another slot does not go back with its log: its place alone does not tell that records before
it are others now, and it would pass them by.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from eventlog.contract import ERASED, Batch, Message

KEPT: Final = 5000
"""Records of a partition that are remembered: more than a replica is behind by."""
_ANY: Final = 0
"""Stands for a record of which nothing is known."""


class ReadLately:
    """Of one reader. Remembers a hash of each record."""

    def __init__(self) -> None:
        self._signs: dict[int, array[int]] = {}
        self._next: dict[int, int] = {}

    def read(self, batch: Batch) -> None:
        """Remember a batch that follows what was read before."""
        signs, width = self._signs.setdefault(batch.partition, array("q")), batch.next - batch.start
        fresh = array("q", bytes(8 * width))
        for message in batch.messages:
            fresh[message.offset - batch.start] = _sign(message.value)
        signs.extend(fresh)
        self._next[batch.partition] = batch.next
        if len(signs) > 2 * KEPT:
            del signs[:-KEPT]

    def seek(self, partition: int, offset: int) -> None:
        """Forget what stands at an offset and behind it; all, where that is not what was read last."""
        first = self.first(partition)
        if first is None or not first < offset <= self._next[partition]:
            self._signs.pop(partition, None)
        else:
            del self._signs[partition][offset - first :]
            self._next[partition] = offset

    def first(self, partition: int) -> int | None:
        """Return the oldest offset that is remembered."""
        signs = self._signs.get(partition)
        return self._next[partition] - len(signs) if signs else None

    def newest(self, partition: int) -> int | None:
        """Return the newest offset of whose record anything is known."""
        signs, end = self._signs.get(partition, ()), self._next.get(partition, 0)
        return next((end - back for back in range(1, len(signs) + 1) if signs[-back] != _ANY), None)

    def parts_at(self, partition: int, begin: int, held: Iterable[Message]) -> int | None:
        """Return the offset of the first record that is another one now, or is gone; None where there is none. `held`
        is what the log has of what is remembered, from offset `begin` on.
        """
        first = self.first(partition)
        if first is None:
            return None
        values = {message.offset: message.value for message in held}
        for offset in range(max(first, begin), self._next[partition]):
            sign, value = self._signs[partition][offset - first], values.get(offset)
            if sign != _ANY and value != ERASED and (value is None or _sign(value) != sign):
                return offset
        return None


def _sign(value: bytes) -> int:
    return hash(value) or 1
