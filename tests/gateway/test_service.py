"""Health, metrics, unknown paths, the demo page."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import redis
from aiohttp import ClientResponse
from prometheus_client.parser import text_string_to_metric_families

from contracts.codec import EndedSession, encode_ended, encode_row
from contracts.ids import item_key, partition_of
from contracts.items import CatalogueRow, item_of
from contracts.keys import CATALOGUE, ENDED
from contracts.settings import RedisSettings
from retrieval.ended_sessions import slot_of
from state.client import connect
from state.embedded import EmbeddedRedis
from state.read_progress import ReadProgress
from state.restore_mark import RestoreMark, Step
from state.tables import TableWriter
from tests.gateway.conftest import LOG, Client, Start, event, problem, put_items
from tests.gateway.streams import Streams


async def measured(client: Client) -> ClientResponse:
    """Return the metrics with the lag in them: a busy Redis may not tell it in time."""
    async with asyncio.timeout(60):
        while True:
            response = await client.get("/metrics")
            if "clicks_behind NaN" not in await response.text():
                return response


async def test_a_loaded_process_is_healthy_and_ready(client: Client) -> None:
    healthy, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (healthy.status, (await healthy.json())["status"]) == (200, "ok")
    document = await ready.json()
    assert (ready.status, document["ready"]) == (200, True)
    assert sorted(document["tables"]) == ["catalogue", "ended", "refusals", "scenarios", "showings", "trends"]
    assert all(table["loaded"] and table["following"] for table in document["tables"].values())
    assert document["state"] == {"takes_writes": True, "why": None}


async def test_a_redis_that_takes_no_writes_is_said_by_readiness_and_metrics(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as full:
        client = await start(redis=RedisSettings(url=server.url, timeout_ms=60_000))
        full.config_set("maxmemory", "1")
        document = await looked_at(client, takes_writes=False)
        assert document["ready"] is True
        assert document["state"]["why"] == "OOM: it is at its maxmemory: raise that, or take something out of it"
        assert "\nnextclick_gateway_state_takes 0.0\n" in await (await client.get("/metrics")).text()
        full.config_set("maxmemory", "0")
        await looked_at(client, takes_writes=True)
        assert "\nnextclick_gateway_state_takes 1.0\n" in await (await client.get("/metrics")).text()


async def test_a_catalogue_that_is_gone_from_redis_is_not_ready_until_it_is_back(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as redis_client:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        with closing(TableWriter(settings, CATALOGUE)) as table:
            row = encode_row(CatalogueRow("a", item_of({"title": "A"}), 1, 1, 0, b""))
            key = item_key("a").to_bytes(8, "little")
            table.commit({key: row})
            client = await start(redis=settings)
            assert (await client.get("/readyz")).status == 200
            redis_client.flushall()
            document = await readiness(client, 503)
            assert document["detail"].startswith("the catalogue is gone: Redis was emptied, or restored")
            table.commit({key: row})
            assert (await readiness(client, 200))["ready"] is True


async def test_a_gateway_is_not_ready_while_a_backup_is_restored_into_its_redis(
    redis_settings: RedisSettings, client: Client
) -> None:
    mark = RestoreMark(redis_settings.prefix, "20261129T070000Z")
    with closing(connect(redis_settings)) as restoring:
        mark.set(restoring, Step.COPYING)
        document = await readiness(client, 503)
        assert document["detail"].startswith(
            "Redis: expected a whole deployment, found a backup that is being restored into it since 20261129T070000Z: "
        )
        mark.set(restoring, Step.PLACING)
        async with asyncio.timeout(60):
            while True:
                if (await readiness(client, 503))["detail"].startswith(HALF):
                    break
                await asyncio.sleep(0.1)
        mark.remove(restoring)
        assert (await readiness(client, 200))["ready"] is True


HALF = (
    "Redis: expected a whole deployment, found half of a backup: a restore began at 20261129T070000Z and has not ended."
)


async def readiness(client: Client, status: int) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            response = await client.get("/readyz")
            if response.status == status:
                found: dict[str, Any] = await response.json()
                return found
            await asyncio.sleep(0.1)


async def looked_at(client: Client, *, takes_writes: bool) -> dict[str, Any]:
    """Return readiness once it says so: a gateway asks Redis at most once a second."""
    async with asyncio.timeout(60):
        while True:
            response = await client.get("/readyz")
            document: dict[str, Any] = await response.json()
            assert response.status == 200
            if document["state"]["takes_writes"] is takes_writes:
                return document
            await asyncio.sleep(0.1)


async def test_what_a_flow_lost_and_how_far_the_trends_are_behind_is_a_metric(
    redis_settings: RedisSettings, start: Start
) -> None:
    client = await start()
    await client.post("/api/events", json=[event("e-1"), event("e-2")])
    text = await (await measured(client)).text()
    assert "\nnextclick_gateway_trends_behind 2.0\n" in text
    assert '\nnextclick_gateway_records_lost_total{flow="trends",topic="clicks"} 0.0\n' in text
    partition = partition_of("s-1", LOG.partitions)
    with closing(ReadProgress(redis_settings, "trends", "clicks")) as trends:
        trends.tell({partition: 1}, lost=34_000)
    text = await (await measured(client)).text()
    assert "\nnextclick_gateway_trends_behind 1.0\n" in text
    assert '\nnextclick_gateway_records_lost_total{flow="trends",topic="clicks"} 34000.0\n' in text


async def test_an_unknown_path_is_404_and_an_unknown_method_405(client: Client) -> None:
    unknown = await problem(await client.get("/api/nothing"), 404)
    assert unknown["detail"] == "there is no /api/nothing here; GET /openapi.json lists what there is"
    response = await client.put("/api/events", json={})
    document = await problem(response, 405)
    assert response.headers["Allow"] == "POST"
    assert document["detail"] == "PUT is not answered here; allowed: POST"


async def test_metrics_count_requests_events_stages_and_tables(
    redis_settings: RedisSettings, start: Start, streams: Streams
) -> None:
    ended = EndedSession(0, np.array([item_key("shoe-1"), item_key("shoe-2")], np.uint64))
    writer = TableWriter(redis_settings, ENDED)
    slots = (slot_of("gone", 0, 500_000), 500_000)  # the last of them is of a time when there were more
    writer.commit({slot.to_bytes(8, "little"): encode_ended(ended) for slot in slots})
    writer.close()
    client = await start()
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"})
    taken = await (await client.post("/api/events", json=[event("e-1"), event("e-2"), {"v": 3}])).json()
    await client.post("/api/recommendations/cart", json={"session_id": "s-1", "after": taken["token"]})
    await client.get("/api/unknown")
    response = await measured(client)
    assert response.content_type == "text/plain"
    values = {
        (sample.name.removeprefix("nextclick_gateway_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(await response.text())
        for sample in family.samples
    }
    assert values["events_total", "accepted"] == 2
    assert values["events_total", "unknown_version"] == 1
    assert values["responses_total", "202", "POST /api/events"] == 1
    assert values["responses_total", "404", "other"] == 1
    assert values["request_seconds_count", "POST /api/recommendations/{scenario}"] == 1
    assert values["stage_seconds_count", "session_view"] == 1
    assert values["stage_seconds_bucket", "+Inf", "total"] == 1
    assert values["table_rows", "catalogue"] == 1
    assert values["table_rows", "ended"] == 1
    assert values["table_changes_behind", "catalogue"] == 0
    assert values[("clicks_behind",)] == 0
    assert values["table_age_seconds", "trends"] < 500
    assert values["degraded_total", "general_model"] == 1


async def test_lag_is_unknown_rather_than_zero_when_clicks_stand(client: Client) -> None:
    await client.post("/api/events", json=[event("e-1"), event("e-2")])
    text = await (await measured(client)).text()
    assert re.search(r"^nextclick_gateway_clicks_behind 2\.0$", text, re.MULTILINE)


async def test_the_demo_page_is_served_only_when_asked_for(start: Start) -> None:
    plain, demo = await start(), await start(demo_page=True)
    await problem(await plain.get("/"), 404)
    page = await demo.get("/")
    text = await page.text()
    assert (page.status, page.content_type) == (200, "text/html")
    loaded = re.findall(r'(?:src|href)="(/demo/[^"]+)"', text)
    assert sorted(loaded) == ["/demo/editor.css", "/demo/icon.svg", "/demo/shop.css", "/demo/shop.js"]
    for name in (*loaded, "/demo/pictures.js"):
        response = await demo.get(name)
        assert response.status == 200
        assert not re.search(r"https?://(?!www\.w3\.org)", await response.text())
    await problem(await demo.get("/demo/shop.html"), 404)
