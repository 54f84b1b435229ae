"""Traffic of a small shop that counts what was promised: clicks with their tokens, answers, changes of items, calls
that are owed to the shop's server.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from replay.engine.http_client import HttpClient

SESSIONS: Final = 12
STEP_S: Final = 0.05
SHOP_S: Final = 0.5
MOST_STEPS: Final = 20_000
CRAWLER: Final = "crawler"
"""A session that no human has: its events say so."""
WATCHED: Final = ("lamp", "tent", "boot")
"""Items that run out and come back. Of each one user waits for it."""
_KINDS: Final = ("view", "view", "cart", "view", "purchase", "view", "view")


def waiter_of(item_id: str) -> str:
    return f"waits-{item_id}"


@dataclass
class Traffic:
    """Sends step by step to whatever port it is told: a click, a question that has to know of it, now and then what was
    seen; and beside that changes of items. Every request over a connection of its own. Mutable on purpose: it counts.
    """

    port: int
    item_ids: list[str]
    outcomes: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    """By session: clicks that were acknowledged, of all kinds."""
    kinds: Counter[str] = field(default_factory=Counter)
    """By type: events that were acknowledged."""
    tokens: dict[str, str] = field(default_factory=dict)
    put: dict[str, int] = field(default_factory=dict)
    """By item: the stock that was acknowledged last."""
    owed: set[tuple[str, int]] = field(default_factory=set)
    """Items that were gone and are back, with the new stock, both acknowledged as visible."""
    variants: defaultdict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    """By session: the variants that it was answered with."""
    forgot: list[str] = field(default_factory=list)
    """Answers that knew of fewer clicks than were acknowledged, without saying so."""
    steps: int = 0
    _pages: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """By session: the request and the items of its newest page."""
    _stopping: bool = False

    async def run(self) -> None:
        shop = asyncio.create_task(self._keep_shop())
        while not self._stopping and self.steps < MOST_STEPS:
            await self.step()
            await asyncio.sleep(STEP_S)
        await shop

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
        if self.steps % 5 == 0:
            await self._see(session)
        if self.steps % 20 == 0:
            await self._send(CRAWLER, "view", item_id=self.item_ids[0], context={"user_agent": "Googlebot/2.1"})
        self.steps += 1

    async def wait_for_items(self) -> None:
        """Let each watched item be there, and have a user who waits for it."""
        for item_id in WATCHED:
            await self._restock(item_id)
            await self._send(waiter_of(item_id), "view", item_id=item_id)

    async def view_again(self) -> None:
        """Let each who waits view the item again: the first time, the flow may not have known it yet."""
        for item_id in WATCHED:
            await self._send(waiter_of(item_id), "view", item_id=item_id)

    async def _click(self, session: str) -> None:
        """Click what the newest page held, every second time, and say so; else anything."""
        request_id, shown = self._pages.get(session, ("", []))
        turn = self.steps // SESSIONS
        kind, more = _KINDS[self.steps % len(_KINDS)], dict[str, Any]()
        if shown and turn % 2:
            more = {"item_id": shown[turn % len(shown)], "request_id": request_id}
        else:
            more = {"item_id": self.item_ids[self.steps % len(self.item_ids)]}
        if kind == "purchase":
            more |= {"value": 1 + self.steps / 100, "currency": "EUR", "order_id": f"o-{self.steps}", "quantity": 1}
        await self._send(session, kind, **more)

    async def _send(self, session: str, kind: str, **more: Any) -> None:
        fields = {"v": 1, "event_id": uuid.uuid4().hex, "type": kind, "session_id": session, "user_id": f"u-{session}"}
        said = await self._call("/api/events", {**fields, "ts": time.time_ns() // 1_000_000, **more})
        if said is not None:
            self.kinds[kind] += 1
            if kind != "impression":
                self.clicks[session] += 1
                self.tokens[session] = said["token"]

    async def _ask(self, session: str) -> None:
        device = ("phone", "desktop")[self.steps % 2]
        body = {"session_id": session, "user_id": f"u-{session}", "limit": 8, "after": self.tokens.get(session)}
        body["context"] = {"device": device, "region": "de"}
        said = await self._call("/api/recommendations/homepage", {k: v for k, v in body.items() if v is not None})
        if said is None:
            return
        self.outcomes["pages"] += 1
        self.variants[session].add(said["variant"])
        self._pages[session] = said["request_id"], [one["item_id"] for one in said["recommendations"]]
        if not said.get("stale"):
            self.outcomes["fresh"] += 1
            if said["session"]["events"] != self.clicks[session]:
                self.forgot.append(f"{session}: {said['session']['events']} of {self.clicks[session]}")

    async def _see(self, session: str) -> None:
        request_id, shown = self._pages.get(session, ("", []))
        if shown:
            more = {"items": shown[:3], "request_id": request_id, "context": {"seen": True}}
            await self._send(session, "impression", **more)

    async def _keep_shop(self) -> None:
        """Change items, one after the other: where nothing applies changes, an answer is waited for long."""
        turn = 0
        while not self._stopping:
            await self._put(f"new-{turn % 5}")
            await self._restock(WATCHED[turn % len(WATCHED)])
            turn += 1
            await asyncio.sleep(SHOP_S)

    async def _put(self, item_id: str) -> None:
        left = self.steps + 1
        item = {"item_id": item_id, "title": item_id, "category": "news", "stock": left}
        if await self._call("/api/items", item) is not None:
            self.put[item_id] = left

    async def _restock(self, item_id: str) -> None:
        """Let an item run out and come back with a stock that it never had."""
        if item_id not in self.put:
            await self._put(item_id)
        gone = await self._call("/api/stock", [{"item_id": item_id, "stock": 0}])
        left = self.put[item_id] + 1
        back = await self._call("/api/stock", [{"item_id": item_id, "stock": left}])
        if back is not None:
            self.put[item_id] = left
            if gone is not None and gone["visible"] and back["visible"]:
                self.owed.add((item_id, left))

    async def _call(self, path: str, body: Any) -> dict[str, Any] | None:
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
