"""Events sent in the background of an event loop, in batches: `add` returns at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from nextclick_client.async_client import AsyncClient
from nextclick_client.calls import MOST_EVENTS, check, event
from nextclick_client.errors import Refused, Unavailable, WrongUse
from nextclick_client.types import Event
from nextclick_client.waiting import FULL, Told, Waiting, tell


class AsyncEventQueue:
    """As `EventQueue`, for one event loop. What waits when the loop ends is lost: `await queue.close()` before, or use
    it by `async with`.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        batch: int = 200,
        every_s: float = 1.0,
        most: int = 10_000,
        exit_s: float = 5.0,
        told: Told | None = None,
    ) -> None:
        if not 1 <= batch <= MOST_EVENTS:
            raise WrongUse(f"expected a batch of 1 to {MOST_EVENTS:,} events, got {batch}")
        self._client, self._batch, self._every_s = client, batch, every_s
        self._exit_s, self._told = exit_s, told
        self._waiting, self._closed = Waiting(most), False
        self._some, self._full, self._sending = asyncio.Event(), asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def sent(self) -> int:
        return self._waiting.sent

    @property
    def refused(self) -> int:
        return self._waiting.refused

    @property
    def dropped(self) -> int:
        return self._waiting.dropped

    def track(self, type: str, session_id: str, item_id: str | None = None, **more: Any) -> bool:
        """Add an event that happens now: see `nextclick_client.event`."""
        return self.add(event(type, session_id, item_id, **more))

    def add(self, one: Event) -> bool:
        """Add an event; False where there is no room for it. Raises WrongUse once the queue is closed, and for what
        JSON cannot hold.
        """
        check(one)
        if self._closed:
            raise WrongUse("expected an open queue, got one that was closed: make another")
        is_taken = self._waiting.add(one)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._some.set()
        if len(self._waiting) >= self._batch:
            self._full.set()
        if not is_taken:
            tell(self._told, [(one, FULL)])
        return is_taken

    async def flush(self) -> bool:
        """Send all that waits; False where it could not be sent, and still waits."""
        while len(self._waiting):
            if not await self._send():
                return False
        return True

    async def close(self) -> None:
        """Send what waits, within `exit_s` seconds, and stop. What is left then is told, and counted in `dropped`."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.flush(), self._exit_s)
        tell(self._told, self._waiting.give_up())

    async def __aenter__(self) -> AsyncEventQueue:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._every_s)
            self._full.clear()
            if not await self.flush():
                self._some.set()  # try again

    async def _send(self) -> bool:
        """Send the oldest batch; False where it could not be sent."""
        async with self._sending:
            batch = self._waiting.first(self._batch)
            if not batch:
                return True
            try:
                answer = await self._client.send_events(batch)
            except Unavailable:
                return False
            except (Refused, WrongUse) as error:  # the latter of an event that was changed since
                left_out = self._waiting.refuse(batch, str(error))
            else:
                left_out = self._waiting.done(batch, answer)
        tell(self._told, left_out)
        return True
