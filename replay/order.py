"""A target inside the process that takes its time, and checks that every session's events come in their order."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from replay.schedule import Planned
from replay.targets import Fields, Taken


class OrderTarget:
    """Takes events after 0 to `slowest_s`; `out_of_order` counts those that were not their session's next one."""

    def __init__(self, *, seed: int, slowest_s: float = 0.02) -> None:
        self._draw, self._slowest_s = random.Random(seed), slowest_s
        self._due: dict[str, deque[str]] = {}
        self.out_of_order = 0

    def watched(self, plan: Iterable[Planned]) -> Iterator[Planned]:
        """Yield the plan, noting the order in which each session's events should come."""
        for planned in plan:
            self._due.setdefault(planned.session_id, deque()).append(planned.fields["event_id"])
            yield planned

    async def send(self, batch: Sequence[Fields]) -> Taken:
        await asyncio.sleep(self._draw.random() * self._slowest_s)
        for fields in batch:
            due = self._due[fields["session_id"]]
            self.out_of_order += due[0] != fields["event_id"]
            due.remove(fields["event_id"])
            if not due:
                del self._due[fields["session_id"]]
        await asyncio.sleep(self._draw.random() * self._slowest_s)
        return Taken(len(batch))
