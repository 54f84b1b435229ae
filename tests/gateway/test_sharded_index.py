"""A gateway whose index is searched by two shards: real processes' parts over a real table, by their sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.ids import item_key
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.shard import Shard
from retrieval.share import Share
from state.shards import shard_of
from tests.gateway.conftest import LOG, Client, Start, event, put_items
from tests.gateway.streams import Streams

OF, PARTS = 2, 3
LOOKS = 3000


@contextmanager
def running(settings: ServiceSettings, shard: int) -> Iterator[Shard]:
    made = Shard(settings, Share(shard, OF))
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()


@pytest.fixture(params=[1, PARTS], ids=["one-table", "three-tables"])
def service(request: pytest.FixtureRequest, redis_settings: RedisSettings, tmp_path: Path) -> ServiceSettings:
    redis = redis_settings.model_copy(update={"item_shards": request.param})
    index = IndexSettings(shards=OF, folder=str(tmp_path / "index"), shard_deadline_ms=10_000)
    return ServiceSettings(redis=redis, artifacts=str(ARTIFACTS), index=index)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(LOOKS):
        if await look():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


async def near(client: Client, session: str) -> dict[str, Any]:
    """Ask for a page of a session, which has what is near it."""
    response = await client.post(
        "/api/recommendations/homepage", json={"session_id": session, "limit": 20, "explain": True}
    )
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def test_a_gateway_with_two_shards_answers_without_one_and_with_it_again(
    service: ServiceSettings, start: Start
) -> None:
    with (
        Streams(LOG, service.redis, str(ARTIFACTS)),
        running(service, 0),
        ExitStack() as second,
    ):
        second.enter_context(running(service, 1))
        client = await start(redis=service.redis, artifacts=str(ARTIFACTS), index=service.index)
        shoes = [f"shoe-{n}" for n in range(12)]
        await put_items(client, *({"item_id": one, "title": f"Trail {one}", "category": "shoes"} for one in shoes))
        taken = await client.post("/api/events", json=event("e-1", "s-1", "shoe-3"))
        assert taken.status == 202

        async def is_whole() -> bool:
            answer = await near(client, "s-1")
            return "index_shards" not in answer["degraded"] and answer["cold_start"] == "session"

        await until(is_whole)
        metrics = await (await client.get("/metrics")).text()
        assert 'nextclick_gateway_index_shard_up{shard="1"} 1.0' in metrics
        assert 'nextclick_gateway_index_shard_answer_seconds_total{shard="1"} 0.0\n' not in metrics

        async def have_all() -> bool:
            await near(client, "s-1")
            metrics = await (await client.get("/metrics")).text()
            return all(f'nextclick_gateway_index_shard_behind{{shard="{shard}"}} 0.0' in metrics for shard in range(OF))

        await until(have_all)

        async def is_handed_over() -> bool:
            await near(client, "s-1")
            return "nextclick_gateway_index_delta_items 0.0" in await (await client.get("/metrics")).text()

        await until(is_handed_over)  # from here on the shards alone know what is near
        seen = await (await client.get("/api/items/shoe-3/insight")).json()
        assert {one["item_id"] for one in seen["nearest"]} == set(shoes) - {"shoe-3"}

        second.close()

        async def is_degraded() -> bool:
            answer = await near(client, "s-1")
            return "index_shards" in answer["degraded"] and len(answer["recommendations"]) > 0

        await until(is_degraded)
        metrics = await (await client.get("/metrics")).text()
        assert 'nextclick_gateway_index_shard_up{shard="0"} 1.0' in metrics
        assert 'nextclick_gateway_index_shard_up{shard="1"} 0.0' in metrics
        assert 'nextclick_gateway_index_shard_missed_total{shard="1",why="down"}' in metrics

        await put_items(client, {"item_id": "late", "title": "Trail shoe late", "category": "shoes/trail"})
        second.enter_context(running(service, 1))
        await until(is_whole)


async def test_an_item_is_near_as_soon_as_its_put_says_visible_whatever_the_shards_have(
    service: ServiceSettings, start: Start
) -> None:
    with Streams(LOG, service.redis, str(ARTIFACTS)):
        client = await start(redis=service.redis, artifacts=str(ARTIFACTS), index=service.index)  # no shard runs at all
        await put_items(client, {"item_id": "shoe-1", "title": "Trail shoe", "category": "shoes/trail"})
        await put_items(client, {"item_id": "shoe-2", "title": "Trail shoe", "category": "shoes/trail"})
        seen = await (await client.get("/api/items/shoe-1/insight")).json()
        assert [one["item_id"] for one in seen["nearest"]] == ["shoe-2"]


async def test_what_is_visible_is_near_at_once_and_then_by_every_shard_from_every_part_of_the_table(
    service: ServiceSettings, start: Start
) -> None:
    names = [f"shoe-{n}" for n in range(31)]
    parts = service.redis.item_shards
    places = {(item_key(one) % OF, shard_of(item_key(one), parts)) for one in names[1:]}
    assert len(places) == OF * parts
    with Streams(LOG, service.redis, str(ARTIFACTS)), running(service, 0), running(service, 1):
        client = await start(redis=service.redis, artifacts=str(ARTIFACTS), index=service.index)

        async def nearest() -> set[str]:
            seen = await (await client.get("/api/items/shoe-0/insight")).json()
            return {one["item_id"] for one in seen["nearest"]}

        async def shards_have_all() -> bool:
            await nearest()
            return "nextclick_gateway_index_delta_items 0.0" in await (await client.get("/metrics")).text()

        await put_items(client, {"item_id": names[0], "title": "Trail shoe", "category": "shoes"})
        for before in range(1, len(names), 6):  # ten at most are shown
            some = names[before : before + 6]
            for at, one in enumerate(some):
                put = await client.put(f"/api/items/{one}", json={"title": "Trail shoe", "category": "shoes"})
                assert (await put.json())["visible"] is True
                assert await nearest() == set(some[: at + 1])
            await until(shards_have_all)
            assert await nearest() == set(some)
            for one in some:
                assert (await (await client.delete(f"/api/items/{one}")).json())["visible"] is True
            assert await nearest() == set()
