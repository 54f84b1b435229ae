"""Group commit: appends that arrive while one is under way travel together in the next."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from contracts.gathering import Gathering
from eventlog.contract import Position, Record, Topic

Append = Callable[[Topic, Sequence[Record]], Awaitable[list[Position]]]
_Waiting = tuple[Sequence[Record], asyncio.Future[list[Position]]]


@dataclass(slots=True)
class _Line:
    """The appends of one topic: those that wait, the one that is under way, and when the last one set out."""

    gathering: Gathering
    waiting: list[_Waiting] = field(default_factory=list)
    under_way: asyncio.Task[None] | None = None
    set_out_at: float = -math.inf

    def left_s(self) -> float:
        """Return how much longer the next append waits for company."""
        now = monotonic()
        return self.set_out_at + self.gathering.pause_s(now) - now


class Coalescer:
    """Lets one append a topic be under way at a time; whoever comes meanwhile shares the next one, and its error.

    While calls come often, appends set out up to `gather_s` apart, so that more share one (`contracts.gathering`).
    Order of arrival is order in the log. A cancelled append may still be carried out.
    """

    def __init__(self, append: Append, *, gather_s: float = 0.0) -> None:
        self._append = append
        self._lines = {topic: _Line(Gathering(gather_s)) for topic in Topic}

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        if not records:
            return []
        line = self._lines[topic]
        line.gathering.came(1, monotonic())
        answer: asyncio.Future[list[Position]] = asyncio.get_running_loop().create_future()
        line.waiting.append((records, answer))
        if line.under_way is None:
            line.under_way = asyncio.create_task(self._carry_out(topic, line))
        return await answer

    async def _carry_out(self, topic: Topic, line: _Line) -> None:
        try:
            while line.waiting:
                if (left_s := line.left_s()) > 0:
                    await asyncio.sleep(left_s)
                line.set_out_at = monotonic()
                waiting, line.waiting = line.waiting, []
                await self._together(topic, waiting)
        finally:
            line.under_way = None

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
        while tasks := [line.under_way for line in self._lines.values() if line.under_way is not None]:
            await asyncio.gather(*tasks)
