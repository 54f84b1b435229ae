"""A real HTTP target for the player's tests: it takes events and misbehaves on request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from replay.engine.http_client import HttpClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Arrivals:
    """What came in, in order, and what to do with it. `before` runs ahead of taking a request's events."""

    events: list[dict[str, Any]] = field(default_factory=list)
    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    asks: list[dict[str, Any]] = field(default_factory=list)
    before: Callable[[web.Request, list[dict[str, Any]]], Awaitable[web.StreamResponse | None]] | None = None
    recommend: Callable[[dict[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]]] | None = None

    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.events]

    def by_session(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for event in self.events:
            found.setdefault(event["session_id"], []).append(event["event_id"])
        return found

    async def post_events(self, request: web.Request) -> web.StreamResponse:
        batch = orjson.loads(await request.read())
        batch = batch if isinstance(batch, list) else [batch]
        if self.before is not None:
            answer = await self.before(request, batch)
            if answer is not None:
                return answer
        self.batches.append(batch)
        self.events.extend(batch)
        token = f"p0:{len(self.events)}"
        body = {"accepted": len(batch), "rejected": [], "token": token}
        return web.json_response(body, status=202)

    async def post_recommendations(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        self.asks.append({**asked, "at": time.monotonic(), "placement": request.match_info["placement"]})
        if self.recommend is None:
            return web.json_response({"title": "no model"}, status=503)
        answer = self.recommend(asked)
        return web.json_response(answer if isinstance(answer, dict) else await answer)


@asynccontextmanager
async def target_server(arrivals: Arrivals) -> AsyncIterator[tuple[HttpClient, str]]:
    """Serve on a free loopback port; gives a client and the address."""
    app = web.Application()
    app.router.add_post("/api/events", arrivals.post_events)
    app.router.add_post("/api/recommendations/{placement}", arrivals.post_recommendations)
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("/")).rstrip("/")
    async with HttpClient(url) as http:
        yield http, url
    await server.close()
    await asyncio.sleep(0)
