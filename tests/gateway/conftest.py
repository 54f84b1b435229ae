"""A real gateway on a real Redis, with the flows' steps running beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from contracts.erasure_settings import ErasureOptions
from contracts.settings import (
    CatalogueOptions,
    IndexSettings,
    LogSettings,
    QualityOptions,
    RedisSettings,
    RelayOptions,
    UserOptions,
    WebhookOptions,
)
from gateway.app import create_app
from gateway.settings import (
    AnswerOptions,
    CapsuleOptions,
    ConsentOptions,
    GatewayOptions,
    GatewaySettings,
    RecordOptions,
)
from rerank.query import PipelineSettings
from tests.gateway.streams import Streams

Client = TestClient[Request, Application]
Start = Callable[..., Awaitable[Client]]

LOG = LogSettings(partitions=4)
PATIENT: dict[str, Any] = {"deadline_ms": 10_000, "visible_wait_ms": 60_000, "drain_s": 60.0}
"""What a gateway is given unless a test is about its limits: a busy machine keeps them."""


@pytest.fixture
async def start(redis_settings: RedisSettings) -> AsyncIterator[Start]:
    """Start gateways: `await start(deadline_ms=200)`; what is named apart are the service's settings, and its clock."""
    clients: list[Client] = []

    async def start_one(
        *,
        redis: RedisSettings | None = None,
        log: LogSettings = LOG,
        artifacts: str = "",
        record: RecordOptions | None = None,
        answers: AnswerOptions | None = None,
        clock: Callable[[], int] | None = None,
        pipeline: PipelineSettings | None = None,
        catalogue: CatalogueOptions | None = None,
        users: UserOptions | None = None,
        quality: QualityOptions | None = None,
        index: IndexSettings | None = None,
        erasure: ErasureOptions | None = None,
        consent: ConsentOptions | None = None,
        capsule: CapsuleOptions | None = None,
        webhooks: WebhookOptions | None = None,
        relay: RelayOptions | None = None,
        **options: Any,
    ) -> Client:
        settings = GatewaySettings(
            redis=redis or redis_settings,
            log=log,
            artifacts=artifacts,
            gateway=GatewayOptions(**{**PATIENT, **options}),
            record=record or RecordOptions(),
            answers=answers or AnswerOptions(),
            pipeline=pipeline or PipelineSettings(),
            catalogue=catalogue or CatalogueOptions(),
            users=users or UserOptions(),
            quality=quality or QualityOptions(),
            index=index or IndexSettings(),
            erasure=erasure or ErasureOptions(),
            consent=consent or ConsentOptions(),
            capsule=capsule or CapsuleOptions(),
            webhooks=webhooks or WebhookOptions(),
            relay=relay or RelayOptions(),
        )
        client: Client = TestClient(TestServer(create_app(settings, clock=clock)))
        clients.append(client)
        await client.start_server()
        await ready(client)
        return client

    yield start_one
    for client in clients:
        await client.close()


@pytest.fixture
async def client(start: Start) -> Client:
    """One gateway with limits that a busy machine keeps."""
    return await start()


@pytest.fixture
def streams(redis_settings: RedisSettings) -> Iterator[Streams]:
    with Streams(LOG, redis_settings) as running:
        yield running


async def ready(client: Client) -> None:
    until = time.monotonic() + 60
    while (await client.get("/readyz")).status != 200:
        assert time.monotonic() < until, "the gateway was not ready within 60 s"
        await asyncio.sleep(0.01)


def event(event_id: str, session_id: str = "s-1", item_id: str = "shoe-1", **more: Any) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    return {
        **{"v": 1, "event_id": event_id, "type": "view", "session_id": session_id, "item_id": item_id, "ts": now_ms},
        **more,
    }


async def problem(response: ClientResponse, status: int) -> dict[str, Any]:
    """Expect a problem answer and return it."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert document["status"] == status
    assert document["instance"] == response.url.raw_path
    return document


async def put_items(client: Client, *items: dict[str, Any]) -> None:
    """Put items and expect recommendations to see them."""
    for item in items:
        item_id = item.pop("item_id")
        response = await client.put(f"/api/items/{item_id}", json=item)
        answer = await response.json()
        assert (response.status, answer["visible"]) == (202, True), answer
