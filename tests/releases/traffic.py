"""Traffic of a small shop that counts what was promised: clicks with their tokens, answers, changes of items."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from replay.engine.http_client import HttpClient

SESSIONS: Final = 12
STEP_S: Final = 0.05
MOST_STEPS: Final = 20_000


@dataclass
class Traffic:
    """Sends step by step to whatever port it is told: a click, a question that has to know of it, now and then an item.
    Every second request over a connection of its own. Mutable on purpose: it counts.
    """

    port: int
    item_ids: list[str]
    outcomes: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    """By session: clicks that were acknowledged."""
    tokens: dict[str, str] = field(default_factory=dict)
    put: dict[str, int] = field(default_factory=dict)
    """By item: the stock that was acknowledged last."""
    forgot: list[str] = field(default_factory=list)
    """Answers that knew of fewer clicks than were acknowledged, without saying so."""
    steps: int = 0
    _stopping: bool = False

    async def run(self) -> None:
        while not self._stopping and self.steps < MOST_STEPS:
            await self.step()
            await asyncio.sleep(STEP_S)

    async def more(self, steps: int, timeout_s: float = 240) -> None:
        """Return once so many steps more were made."""
        until, wanted = time.monotonic() + timeout_s, self.steps + steps
        while self.steps < wanted:
            assert time.monotonic() < until, f"no step any more: {self.outcomes}"
            await asyncio.sleep(STEP_S)

    def stop(self) -> None:
        self._stopping = True

    async def step(self) -> None:
        session = f"s-{self.steps % SESSIONS}"
        await self._click(session)
        await self._ask(session)
        if self.steps % 10 == 0:
            await self._put(f"new-{self.steps % 50}")
        self.steps += 1

    async def _click(self, session: str) -> None:
        item_id = self.item_ids[self.steps % len(self.item_ids)]
        fields = {"v": 1, "event_id": uuid.uuid4().hex, "type": "view", "session_id": session, "item_id": item_id}
        said = await self._call("/api/events", {**fields, "user_id": f"u-{session}", "ts": time.time_ns() // 1_000_000})
        if said is not None:
            self.clicks[session] += 1
            self.tokens[session] = said["token"]

    async def _ask(self, session: str) -> None:
        body = {"session_id": session, "user_id": f"u-{session}", "after": self.tokens.get(session)}
        said = await self._call("/api/recommendations/homepage", {k: v for k, v in body.items() if v is not None})
        if said is not None and not said.get("stale"):
            self.outcomes["fresh"] += 1
            if said["session"]["events"] != self.clicks[session]:
                self.forgot.append(f"{session}: {said['session']['events']} of {self.clicks[session]}")

    async def _put(self, item_id: str) -> None:
        item = {"item_id": item_id, "title": item_id, "category": "news", "stock": self.steps + 1}
        if await self._call("/api/items", item) is not None:
            self.put[item_id] = self.steps + 1

    async def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer of a request; None for one that failed, which counts."""
        client = HttpClient(f"http://127.0.0.1:{self.port}", connections=1, attempt_s=120)
        kind = "application/x-ndjson" if path == "/api/items" else "application/json"
        try:
            answer = await client.request(client.head("POST", path, {"Content-Type": kind}), orjson.dumps(body))
        except OSError as error:
            self.outcomes[f"failed {type(error).__name__} {path}"] += 1
            return None
        finally:
            await client.close()
        if answer.status not in (200, 202):
            self.outcomes[f"failed {answer.status} {path}"] += 1
            return None
        self.outcomes["answered"] += 1
        said: dict[str, Any] = orjson.loads(answer.body)
        return said

    @property
    def failed(self) -> dict[str, int]:
        return {name: count for name, count in self.outcomes.items() if name.startswith("failed")}
