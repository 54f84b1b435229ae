"""Click to visible while a recording plays: for a share of the clicks, ask with the click's token until it is known.

Works with a target that gives tokens, and says of an answer whether it is stale.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from replay.engine.http_client import HttpClient
from replay.engine.targets import JSON, Fields, Taken, Target
from replay.measure.timings import Timings

_EVERY = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
AGAIN_S = 0.02


@dataclass(slots=True)
class Visible:
    """From the first sending of a click to the answer that knows it. `never` were not known in time."""

    timings: Timings = field(default_factory=Timings)
    never: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class VisibleWatcher:
    """A target that sends by another one, and watches a `share` of the requests: the last click of each."""

    def __init__(
        self, target: Target, http: HttpClient, watching: asyncio.TaskGroup, *, share: float, give_up_s: float = 5.0
    ) -> None:
        """`http` has connections of its own, so that watching takes none from the visitors."""
        self._target, self._http, self._watching = target, http, watching
        self._below, self._give_up_s = round(share * (_MASK + 1)), give_up_s
        self._head = http.head("POST", "/api/recommendations/homepage", JSON)
        self._requests = 0
        self.elapsed_s: Callable[[], float] = lambda: 0.0
        self.visible = Visible()

    async def send(self, batch: Sequence[Fields]) -> Taken:
        self._requests += 1
        if (self._requests * _EVERY & _MASK) >= self._below or batch[-1].get("type") == "impression":
            return await self._target.send(batch)
        sent_s = self.elapsed_s()
        taken = await self._target.send(batch)
        if taken.token is not None:
            self._watching.create_task(self._watch(batch[-1]["session_id"], taken.token, sent_s))
        return taken

    async def _watch(self, session_id: str, token: str, sent_s: float) -> None:
        body = orjson.dumps({"session_id": session_id, "limit": 1, "after": token})
        while self.elapsed_s() < sent_s + self._give_up_s:
            if await self._knows(body):
                self.visible.timings.add(sent_s, sent_s, self.elapsed_s())
                return
            await asyncio.sleep(AGAIN_S)
        self.visible.never += 1

    async def _knows(self, body: bytes) -> bool:
        try:
            answer = await self._http.request(self._head, body)
            if answer.status == 200:
                return not orjson.loads(answer.body).get("stale")
            self.visible.errors[f"status {answer.status}"] += 1
        except (OSError, ValueError, AttributeError) as error:
            self.visible.errors[type(error).__name__] += 1
        return False
