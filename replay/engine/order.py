"""Whether every session's events arrive in their order: for a target inside the process, and for one outside."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from replay.engine.schedule import Planned
from replay.engine.targets import Fields, Taken


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


class RecordedOrder:
    """Checks what arrives against the recording that is played, reading along in it as far as it takes.

    `run` is the run's name, which stands in front of ids. `out_of_order` counts events that were not their session's
    next one, `unknown` those that the recording does not hold, or that came before.
    """

    def __init__(self, lines: Iterable[bytes], run: str) -> None:
        self._lines, self._prefix = iter(lines), f"{run}-"
        self._due: dict[str, deque[str]] = {}
        self.taken = self.out_of_order = self.unknown = 0

    def take(self, fields: dict[str, Any]) -> None:
        """Note an event that arrived."""
        session_id, event_id = (fields[name].removeprefix(self._prefix) for name in ("session_id", "event_id"))
        self.taken += 1
        due = self._due.get(session_id)
        while due is None or event_id not in due:
            if not self._read_on():
                self.unknown += 1
                return
            due = self._due.get(session_id)
        self.out_of_order += due[0] != event_id
        due.remove(event_id)
        if not due:
            del self._due[session_id]

    def _read_on(self) -> bool:
        line = next(self._lines, None)
        if line is None:
            return False
        fields = orjson.loads(line)
        self._due.setdefault(fields["session_id"], deque()).append(fields["event_id"])
        return True

    def as_json(self) -> dict[str, int]:
        return {"taken": self.taken, "out_of_order": self.out_of_order, "unknown": self.unknown}
