"""POST /api/recommendations/{scenario}."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis

from contracts.codec import ItemTrend, encode_trend
from contracts.ids import item_key, partition_of
from contracts.keys import CATALOGUE, TRENDS, Keys
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from nextclick.stack.shop_models import ARTIFACTS
from session_model.general import general_version
from state.embedded import EmbeddedRedis
from state.tables import TableWriter
from tests.gateway.conftest import LOG, Client, Start, event, problem, put_items
from tests.gateway.streams import Streams
from tests.gateway.test_events import logged

SHOES = [f"shoe-{n}" for n in range(6)]
LAMPS = [f"lamp-{n}" for n in range(6)]


def make_popular(redis: RedisSettings, item_ids: list[str]) -> None:
    """Let items trend, the first one most."""
    nothing = np.empty(0, np.uint64), np.empty(0, np.float32)
    now_ms = time.time_ns() // 1_000_000
    writer = TableWriter(redis, TRENDS)
    writer.commit(
        {
            item_key(name).to_bytes(8, "little"): encode_trend(ItemTrend(now_ms, 100.0 - at, 1.0, 10.0, *nothing))
            for at, name in enumerate(item_ids)
        }
    )
    writer.close()


async def put_shop(client: Client) -> None:
    shoes = [{"item_id": name, "title": f"Shoe {name}", "category": "sport/shoes", "price": 90.0} for name in SHOES]
    lamps = [{"item_id": name, "title": f"Lamp {name}", "category": "home/lamps", "price": 30.0} for name in LAMPS]
    lines = b"\n".join(orjson.dumps(item) for item in shoes + lamps)
    response = await client.post("/api/items", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert (await response.json())["visible"] is True


async def ask(client: Client, session_id: str = "s-1", placement: str = "homepage", **question: Any) -> dict[str, Any]:
    response = await client.post(f"/api/recommendations/{placement}", json={"session_id": session_id, **question})
    assert response.status == 200, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in answer["recommendations"]]


async def shown(client: Client, item_ids: list[str], within_s: float = 60.0) -> dict[str, Any]:
    """Ask until the trending items are there: the trends table is followed, not waited for."""
    until = time.monotonic() + within_s
    while set(ids(answer := await ask(client))[: len(item_ids)]) != set(item_ids):
        assert time.monotonic() < until, ids(answer)
        await asyncio.sleep(0.01)
    return answer


@pytest.fixture
async def shop(client: Client, streams: Streams, redis_settings: RedisSettings) -> Client:
    """A gateway with twelve items, of which four trend."""
    await put_shop(client)
    make_popular(redis_settings, SHOES[:2] + LAMPS[:2])
    await shown(client, SHOES[:2] + LAMPS[:2])
    return client


async def test_an_unknown_visitor_sees_what_trends(shop: Client) -> None:
    answer = await ask(shop, limit=3)
    assert ids(answer) == ["shoe-0", "shoe-1", "lamp-0"]
    assert [one["position"] for one in answer["recommendations"]] == [1, 2, 3]
    assert answer["session"] == {"events": 0, "age_ms": None}
    assert (answer["model_version"], answer["experiment_id"]) == (f"{general_version():016x}", None)
    assert answer["degraded"] == ["general_model"]
    assert "stale" not in answer
    assert {"session_view", "session_vector", "retrieve", "rules", "total"} <= set(answer["timings_us"])


async def test_an_answer_after_a_token_counts_its_click(shop: Client) -> None:
    taken = await (await shop.post("/api/events", json=event("e-1", item_id="shoe-0"))).json()
    answer = await ask(shop, after=taken["token"])
    assert answer["session"]["events"] == 1
    assert 0 <= answer["session"]["age_ms"] < 600_000
    assert "stale" not in answer
    assert "shoe-0" not in ids(answer)


async def test_a_token_of_another_session_is_waited_for_too(shop: Client) -> None:
    here = partition_of("s-1", LOG.partitions)
    other = next(f"o-{n}" for n in range(100) if partition_of(f"o-{n}", LOG.partitions) != here)
    taken = await (await shop.post("/api/events", json=event("e-1", session_id=other))).json()
    assert "stale" not in await ask(shop, after=taken["token"])
    assert (await ask(shop, other))["session"]["events"] == 1


async def test_a_click_that_is_not_applied_in_time_makes_the_answer_stale(start: Start, streams: Streams) -> None:
    client = await start(deadline_ms=150)
    streams.pause()
    taken = await (await client.post("/api/events", json=event("e-1"))).json()
    async with asyncio.timeout(60):
        answer = await ask(client, after=taken["token"])
    assert (answer["stale"], answer["session"]["events"]) == (True, 0)
    streams.resume()
    client_with_time = await start()
    assert (await ask(client_with_time, after=taken["token"]))["session"]["events"] == 1


async def test_recent_events_count_in_the_answer_and_are_not_stored(
    shop: Client, redis_settings: RedisSettings
) -> None:
    now_ms = event("x")["ts"]
    recent = [event("r-2", item_id="lamp-0", ts=now_ms - 1000), event("r-1", item_id="shoe-0", ts=now_ms - 900_000)]
    answer = await ask(shop, recent_events=recent)
    assert answer["session"]["events"] == 2
    assert 1000 <= answer["session"]["age_ms"] < 900_000  # since the later one
    assert set(ids(answer)) == {*SHOES[1:], *LAMPS[1:]}
    assert ids(answer)[0] in LAMPS  # the newest click counts most
    assert answer["dropped"] == {"seen": 2}
    assert "dropped_items" not in answer
    answer = await ask(shop, recent_events=recent, exclude=["lamp-1"], explain=True)
    assert answer["dropped"] == {"seen": 2, "excluded": 1}
    named = {rule: sorted(items) for rule, items in answer["dropped_items"].items()}
    assert named == {"seen": ["lamp-0", "shoe-0"], "excluded": ["lamp-1"]}
    assert logged(redis_settings, Topic.CLICKS) == []
    assert (await ask(shop))["session"]["events"] == 0


async def test_recent_events_that_were_stored_meanwhile_count_once(shop: Client) -> None:
    click = event("e-1", item_id="shoe-0")
    taken = await (await shop.post("/api/events", json=click)).json()
    answer = await ask(shop, after=taken["token"], recent_events=[click, event("e-2", item_id="shoe-1")])
    assert answer["session"]["events"] == 2


@pytest.fixture
def embedding_streams(redis_settings: RedisSettings) -> Iterator[Streams]:
    with Streams(LOG, redis_settings, str(ARTIFACTS)) as running:
        yield running


async def test_clicks_of_the_request_and_of_the_stream_lead_to_the_same_list(
    start: Start, embedding_streams: Streams
) -> None:
    soon_ms = event("x")["ts"] + 60_000
    client = await start(artifacts=str(ARTIFACTS), clock=lambda: soon_ms)  # ages are the same in both answers
    await put_shop(client)
    clicks = [event("e-1", item_id="shoe-0"), event("e-2", item_id="shoe-1", type="cart")]
    from_request = await ask(client, recent_events=clicks, limit=8)
    taken = await (await client.post("/api/events", json=clicks)).json()
    from_stream = await ask(client, after=taken["token"], limit=8)
    assert len(from_request["model_version"]) == 16
    assert from_request["session"]["events"] == from_stream["session"]["events"] == 2
    assert ids(from_request) == ids(from_stream)
    scores = [[one["score"] for one in answer["recommendations"]] for answer in (from_request, from_stream)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)
    assert set(ids(from_request)[:4]) == {"shoe-2", "shoe-3", "shoe-4", "shoe-5"}


async def test_no_process_shows_an_item_once_its_stock_update_was_visible(
    start: Start, shop: Client, streams: Streams
) -> None:
    other = await start()
    await shown(other, SHOES[:2] + LAMPS[:2])
    for stock in (0, 5, 0, 5, 0):
        response = await shop.post("/api/stock", json=[{"item_id": "shoe-0", "stock": stock}])
        assert (await response.json())["visible"] is True
        for answer in await asyncio.gather(*(ask(client) for client in (shop, other) for _ in range(10))):
            assert "catalogue_behind" not in answer["degraded"]
            assert ("shoe-0" in ids(answer)) == (stock > 0)


async def test_a_catalogue_that_cannot_be_caught_up_with_is_named(
    start: Start, redis_settings: RedisSettings, streams: Streams
) -> None:
    client = await start(deadline_ms=1000)
    await put_items(client, {"item_id": "shoe-0", "title": "Shoe"})
    connection = redis.Redis.from_url(redis_settings.url)
    connection.incr(Keys(redis_settings.prefix).table_end(CATALOGUE))
    connection.close()
    async with asyncio.timeout(60):
        while "session_unavailable" in (answer := await ask(client, candidates=["shoe-0"]))["degraded"]:
            pass  # a busy machine: Redis did not even tell how far the catalogue is
    assert "catalogue_behind" in answer["degraded"]
    assert ids(answer) == ["shoe-0"]


async def test_rules_use_region_age_and_exclude(shop: Client) -> None:
    await put_items(
        shop,
        {"item_id": "shoe-0", "title": "Shoe", "regions": ["eu"]},
        {"item_id": "shoe-1", "title": "Shoe", "min_age": 18},
    )
    everywhere = await ask(shop, context={"region": "us", "age": 17, "device": "tv"}, exclude=["lamp-0"])
    assert ids(everywhere)[0] == "lamp-1"
    assert {"shoe-0", "shoe-1", "lamp-0"}.isdisjoint(ids(everywhere))
    grown_up = await ask(shop, context={"region": "eu", "age": 18})
    assert set(ids(grown_up)[:4]) == {"shoe-0", "shoe-1", "lamp-0", "lamp-1"}


async def test_candidates_are_ranked_and_nothing_else(shop: Client) -> None:
    answer = await ask(shop, placement="search", candidates=["lamp-5", "unknown", "shoe-5"])
    assert sorted(ids(answer)) == ["lamp-5", "shoe-5"]


async def test_what_was_shown_is_logged_as_an_impression(shop: Client, redis_settings: RedisSettings) -> None:
    answer = await ask(shop, user_id="u-1", limit=2)
    until = time.monotonic() + 60
    while not (found := [one for one in logged(redis_settings, Topic.IMPRESSIONS) if one.get("user_id")]):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    assert found[0]["items"] == ids(answer)
    assert found[0]["request_id"] == answer["request_id"]
    assert (found[0]["type"], found[0]["session_id"]) == ("impression", "s-1")
    assert found[0]["context"] == {
        "placement": "homepage",
        "returning": False,
        "model": answer["model_version"],
        "rung": answer["cold_start"],
    }


async def test_an_impression_says_what_its_answer_stands_on(shop: Client, redis_settings: RedisSettings) -> None:
    await put_items(shop, {"item_id": "shoe-0", "title": "Shoe", "margin": 0.25})
    await ask(shop, user_id="u-2", limit=2, context={"device": "phone", "region": "eu"})
    until = time.monotonic() + 60
    while not (found := [one for one in logged(redis_settings, Topic.IMPRESSIONS) if one.get("user_id") == "u-2"]):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    context = found[0]["context"]
    assert (context["device"], context["region"], context["returning"]) == ("phone", "eu", False)
    assert dict(zip(found[0]["items"], context["margins"], strict=True)) == {"shoe-0": 0.25, "shoe-1": None}


async def test_concurrent_requests_are_answered_as_batches(shop: Client) -> None:
    before = await batches(shop)
    answers = await asyncio.gather(*(ask(shop, f"s-{n}") for n in range(64)))
    after = await batches(shop)
    assert len({answer["request_id"] for answer in answers}) == 64
    assert all(ids(answer)[:4] == ["shoe-0", "shoe-1", "lamp-0", "lamp-1"] for answer in answers)
    assert after["batched"] - before["batched"] == 64
    assert after["batches"] - before["batches"] < 64


async def batches(client: Client) -> dict[str, float]:
    text = await (await client.get("/metrics")).text()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    label = 'total{batch="recommendations"}'
    return {name: float(lines[f"nextclick_gateway_{name}_{label}"]) for name in ("batches", "batched")}


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ({}, "/session_id"),
        ({"session_id": "s-1", "limit": 0}, "/limit"),
        ({"session_id": "s-1", "limit": 101}, "/limit"),
        ({"session_id": "s-1", "exclude": ["a", ""]}, "/exclude/1"),
        ({"session_id": "s-1", "after": "p3"}, "/after"),
        ({"session_id": "s-1", "after": "p4:0"}, "/after"),
        ({"session_id": "s-1", "limits": 3}, "/limits"),
        ({"session_id": "s-1", "context": {"age": "old"}}, "/context/age"),
        ({"session_id": "s-1", "context": {"age": 151}}, "/context/age"),
        ({"session_id": "s-1", "context": {"region": 5}}, "/context/region"),
        ({"session_id": "s-1", "recent_events": [{"v": 1}]}, "/recent_events/0"),
        ({"session_id": "s-1", "recent_events": [event("e", session_id="s-2")]}, "/recent_events/0/session_id"),
    ],
)
async def test_a_field_out_of_range_is_422_and_pointed_at(
    client: Client, question: dict[str, Any], pointer: str
) -> None:
    document = await problem(await client.post("/api/recommendations/homepage", json=question), 422)
    assert [one["pointer"] for one in document["errors"]] == [pointer]
    assert document["title"] == "Unprocessable Entity"


async def test_an_unknown_scenario_is_404(client: Client) -> None:
    document = await problem(await client.post("/api/recommendations/basement", json={"session_id": "s-1"}), 404)
    assert document["detail"] == (
        "there is no scenario 'basement'; there are cart, email, homepage, product, push, search"
    )


async def test_a_body_that_is_no_object_is_400(client: Client) -> None:
    document = await problem(await client.post("/api/recommendations/cart", json=["s-1"]), 400)
    assert document["detail"] == "expected a JSON object, got list"


async def test_without_redis_answers_come_from_memory(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        client = await start(redis=settings)
        with Streams(LOG, settings):
            await put_shop(client)
            make_popular(settings, SHOES[:1] + LAMPS[:1])
            await shown(client, SHOES[:1] + LAMPS[:1])
        server.kill()
        answer = await ask(client, recent_events=[event("r-1", item_id="shoe-0")])
        assert answer["degraded"] == ["session_unavailable", "general_model"]
        assert answer["session"]["events"] == 1
        assert set(ids(answer)) == {*SHOES[1:], *LAMPS}
        assert ids(answer)[0] in SHOES
        assert (await client.get("/readyz")).status == 200
        server.start()
        await recovered(client)
        assert ids(await ask(client))[:2] == ["shoe-0", "lamp-0"]
        await client.close()


async def recovered(client: Client) -> None:
    until = time.monotonic() + 60
    while "session_unavailable" in (await ask(client))["degraded"] or not await following(client):
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


async def following(client: Client) -> bool:
    tables = (await (await client.get("/readyz")).json())["tables"]
    return all(table["following"] for table in tables.values())


async def test_a_redis_that_hangs_holds_no_answer_up_beyond_the_deadline(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        client = await start(redis=RedisSettings(url=server.url, timeout_ms=600_000), deadline_ms=200)
        await ask(client)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):  # Redis' own limit is ten minutes
                answers = await asyncio.gather(*(ask(client, f"s-{n}") for n in range(40)))
            assert all(answer["degraded"][0] == "session_unavailable" for answer in answers)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await recovered(client)
        await client.close()


async def test_tokens_that_are_never_applied_hold_no_answer_up(start: Start) -> None:
    client = await start(deadline_ms=100)
    for _ in range(10):
        answers = await asyncio.gather(*(ask(client, after=f"p{partition}:7") for partition in range(4)))
        assert [answer["stale"] for answer in answers] == [True] * 4
