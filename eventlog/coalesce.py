"""Group commit: appends that arrive while one is under way travel together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from eventlog.contract import Position, Record, Topic

Append = Callable[[Topic, Sequence[Record]], Awaitable[list[Position]]]
_Waiting = tuple[Sequence[Record], asyncio.Future[list[Position]]]


class Coalescer:
    """Lets one append a topic be under way at a time; whoever comes meanwhile shares the next one, and its error.

    Order of arrival is order in the log. A cancelled append may still be carried out.
    """

    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: dict[Topic, list[_Waiting]] = {}
        self._under_way: dict[Topic, asyncio.Task[None]] = {}

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        if not records:
            return []
        answer: asyncio.Future[list[Position]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, []).append((records, answer))
        if topic not in self._under_way:
            self._under_way[topic] = asyncio.create_task(self._carry_out(topic))
        return await answer

    async def _carry_out(self, topic: Topic) -> None:
        try:
            while waiting := self._waiting.pop(topic, None):
                await self._together(topic, waiting)
        finally:
            del self._under_way[topic]

    async def _together(self, topic: Topic, waiting: Sequence[_Waiting]) -> None:
        try:
            positions = await self._append(topic, [record for records, _ in waiting for record in records])
        except BaseException as error:  # whatever it was belongs to those who wait for it
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for records, answer in waiting:
            if not answer.done():
                answer.set_result(positions[at : at + len(records)])
            at += len(records)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values())
