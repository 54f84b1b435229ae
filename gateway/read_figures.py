"""Figures of a deployment on `/metrics`: read from Redis at a scrape, off the event loop, at most every 15 s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from prometheus_client.core import Metric

from contracts.errors import NextclickError

_EVERY_S: Final = 15.0
_WAITED_S: Final = 0.5
Read = TypeVar("Read")


class ReadFigures(Generic[Read]):
    """Belongs to the event loop of its process. `figures` makes metrics of what was read; of None where there is
    nothing, or Redis is away.
    """

    def __init__(self, read: Callable[[], Read | None], figures: Callable[[Read | None], Iterator[Metric]]) -> None:
        self._read_it, self._figures = read, figures
        self._found: Read | None = None
        self._read_at_s = -_EVERY_S
        self._reading: asyncio.Task[Read | None] | None = None

    async def refresh(self) -> None:
        """Read anew what is older than 15 s. A Redis that does not answer holds a scrape up for half a second."""
        reading = self._reading
        if reading is None:
            if time.monotonic() - self._read_at_s < _EVERY_S:
                return
            reading = self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        await asyncio.wait({reading}, timeout=_WAITED_S)
        if not reading.done():
            self._found = None
        elif self._reading is reading:  # of several scrapes that waited for it, the first takes it
            self._reading, self._read_at_s = None, time.monotonic()
            self._found = reading.result()

    def collect(self) -> Iterator[Metric]:
        return self._figures(self._found)

    def _read(self) -> Read | None:
        try:
            return self._read_it()
        except NextclickError:
            return None
