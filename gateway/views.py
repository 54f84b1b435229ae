"""Session views for requests: concurrent reads share a connection, and none waits longer than it may."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from contracts.errors import StateUnavailable
from contracts.left_out import LeftOutLog
from eventlog.contract import Position
from state.sessions import SessionReader, View

log = logging.getLogger("nextclick.gateway")

PAUSE_S = (0.0005, 0.008)
"""Between two looks at whether a click has been applied: first pause, longest pause."""


@dataclass(frozen=True, slots=True)
class ViewRead:
    """What could be read in time: no view when Redis did not answer; `stale` when the click was not in it yet."""

    view: View | None
    stale: bool


class Views:
    """Reads session views. The reader bounds each read, so that a Redis that hangs holds nobody up for longer."""

    def __init__(self, reader: SessionReader, *, max_waiting: int) -> None:
        self._reader = reader
        self._max_waiting = max_waiting
        self._said = LeftOutLog(log)
        self._reading = 0

    async def see(
        self, session_id: str, partition: int, after: Position | None, until: float, user_id: str | None = None
    ) -> ViewRead:
        """Read a view that holds the click at `after`, or the latest there is at loop time `until`; with it what is
        known of a user."""
        if after is None:
            try:
                return ViewRead(await self._read(session_id, user_id), stale=False)
            except (TimeoutError, StateUnavailable):
                return ViewRead(None, stale=False)
        return await self._see_after(session_id, partition, after, until, user_id)

    async def close(self) -> None:
        await self._reader.close()

    async def _see_after(
        self, session_id: str, partition: int, after: Position, until: float, user_id: str | None
    ) -> ViewRead:
        view: View | None = None
        try:
            async with asyncio.timeout_at(until):
                pause, longest = PAUSE_S
                if after.partition != partition:
                    await self._applied(after, until)
                    return ViewRead(await self._read(session_id, user_id), stale=False)
                while True:
                    view = await self._read(session_id, user_id)
                    if view.includes(after.offset):
                        return ViewRead(view, stale=False)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest)
        except (TimeoutError, StateUnavailable):
            return ViewRead(view, stale=True)

    async def _read(self, session_id: str, user_id: str | None) -> View:
        """Read a view. Raises StateUnavailable also when too many reads are under way: Redis hangs."""
        if self._reading >= self._max_waiting:
            raise StateUnavailable(f"expected at most {self._max_waiting} reads of sessions under way")
        self._reading += 1
        try:
            view = await self._reader.view(session_id, user_id)
        finally:
            self._reading -= 1
        if view.unreadable is not None:
            self._said.say(f"stored session {view.unreadable.session_id!r}", view.unreadable.error)
        return view

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
