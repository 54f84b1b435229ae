"""A walk over the keys of all primaries of a Redis Cluster by SCAN, whose cursor says which node comes next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from state.slots import Address

_NODES: Final = 1024
"""More than a walk has nodes."""
_NAMES: Final = 1 << 32
"""So many names a list of nodes may have."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a SCAN over all nodes is: the node's own cursor, the node's number, and the nodes that are walked.

    The cursor of the whole names those nodes by a checksum. Where a replica took a primary's place since, numbers and
    cursors mean nothing, so the walk begins anew: who walks meets keys twice, as SCAN allows, and misses none.
    """

    own: int
    number: int
    primaries: tuple[Address, ...]

    @classmethod
    def at(cls, cursor: int, primaries: Sequence[Address]) -> Walk:
        """Return the place that a cursor names, among these nodes."""
        made = cls(0, 0, tuple(primaries))
        rest, number = divmod(cursor, _NODES)
        own, named = divmod(rest, _NAMES)
        return cls(own, number, made.primaries) if named == made._name() else made

    def onward(self, answer: Any) -> Any:
        """Return a node's answer with the cursor of the whole."""
        if isinstance(answer, Exception):
            return answer
        own = int(answer[0])
        number = self.number if own else self.number + 1
        if number == len(self.primaries):
            return [b"0", answer[1]]
        return [b"%d" % ((own * _NAMES + self._name()) * _NODES + number), answer[1]]

    def _name(self) -> int:
        return crc32(repr(self.primaries).encode()) or 1
