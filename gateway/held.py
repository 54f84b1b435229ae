"""How many bytes of half-sent bodies a process holds, over all connections.

Each body has a bound of its own, and slow senders have time: thousands of them together need a bound too.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from aiohttp import web

from gateway.problems import unavailable

ALWAYS_TAKEN: Final = 65_536
"""Bytes of a body that are held whatever the others hold: who sends much cannot keep out who sends little."""


class HeldBytes:
    """What a process holds. `most` bounds the bodies that are larger than `ALWAYS_TAKEN`."""

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0


class HeldBody:
    """What one body holds, while it is read: a context that gives it back."""

    def __init__(self, house: HeldBytes) -> None:
        self._house, self._size = house, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._house.total -= self._size
        self._size = 0

    def holds(self, size: int) -> None:
        """Note that it holds `size` bytes now. Raises Refused (503) where all bodies together hold too much."""
        total = self._house.total + size - self._size
        if size > max(ALWAYS_TAKEN, self._size) and total > self._house.most:
            raise unavailable(
                f"bodies that are still coming hold {self._house.total} bytes, {self._house.most} is the most: "
                "retry, or send smaller ones"
            )
        self._house.total, self._size = total, size


HELD = web.AppKey("held", HeldBytes)
