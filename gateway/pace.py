"""Long work on the event loop, in slices, so that whoever else is there has a turn in between."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from aiohttp import web

SLICE_S: Final = 0.002
"""How long one slice may hold the event loop."""


class Pace:
    """Ask it often during long work: where a slice is over, `turn` lets the loop turn before the next one begins.

    However many requests work so, one slice is done each time the loop turns.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._began = 0.0

    @property
    def is_over(self) -> bool:
        """Whether a slice has lasted as long as it may."""
        return perf_counter() - self._began >= SLICE_S

    async def turn(self) -> None:
        """Begin another slice, if this one is over."""
        if not self.is_over:
            return
        async with self._lock:
            await asyncio.sleep(0)
        self._began = perf_counter()


PACE = web.AppKey("pace", Pace)
