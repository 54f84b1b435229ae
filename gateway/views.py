"""Session views for requests: concurrent reads share a round trip, and none waits longer than it may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import StateUnavailable
from contracts.left_out import LeftOutLog
from eventlog.contract import Position
from gateway.coalesce import Coalescer, Overloaded
from gateway.metrics import Metrics
from state.sessions import SessionReader, View

log = logging.getLogger("nextclick.gateway")

PAUSE_S = (0.0005, 0.008)
"""Between two looks at whether a click has been applied: first pause, longest pause."""

MAX_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class ViewRead:
    """What could be read in time: no view when Redis did not answer; `stale` when the click was not in it yet."""

    view: View | None
    stale: bool


class Views:
    """Reads session views. `timeout_s` bounds one round trip, so that a Redis that hangs holds nobody up for longer."""

    def __init__(self, reader: SessionReader, metrics: Metrics, *, timeout_s: float, max_waiting: int) -> None:
        self._reader = reader
        self._timeout_s = timeout_s
        self._said = LeftOutLog(log)
        self._coalescer: Coalescer[str, View] = Coalescer(
            self._read, max_weight=MAX_TOGETHER, max_waiting=max_waiting, observe=metrics.batch("session_views")
        )

    async def see(self, session_id: str, partition: int, after: Position | None, until: float) -> ViewRead:
        """Read a view that holds the click at `after`, or the latest there is at loop time `until`."""
        view: View | None = None
        try:
            async with asyncio.timeout_at(until):
                if after is not None and after.partition != partition:
                    await self._applied(after, until)
                    after = None
                pause, longest = PAUSE_S
                while True:
                    view = await self._coalescer.submit(session_id)
                    if after is None or view.includes(after.offset):
                        return ViewRead(view, stale=False)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest)
        except (TimeoutError, StateUnavailable, Overloaded):
            return ViewRead(view, stale=after is not None)

    async def close(self) -> None:
        await self._coalescer.close()
        await self._reader.close()

    async def _read(self, session_ids: Sequence[str]) -> list[View]:
        async with asyncio.timeout(self._timeout_s):
            views = await self._reader.read(session_ids)
        for view in views:
            if view.unreadable is not None:
                self._said.say(f"stored session {view.unreadable.session_id!r}", view.unreadable.error)
        return views

    async def _applied(self, position: Position, until: float) -> None:
        """Wait for a click of another partition. Looks at the clock itself: on Python 3.11 a cancellation that meets
        an arriving answer is lost inside the Redis client (`asyncio.wait_for`), and a loop would go on for ever.
        """
        loop = asyncio.get_running_loop()
        pause, longest = PAUSE_S
        while await self._reader.applied(position.partition) <= position.offset:
            if loop.time() >= until:
                raise TimeoutError
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
