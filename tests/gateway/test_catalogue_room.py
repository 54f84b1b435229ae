"""A catalogue that is full says so at the door, and what is there can be changed and deleted."""

from __future__ import annotations

import asyncio

import orjson

from contracts.keys import CATALOGUE
from contracts.settings import CatalogueOptions, RedisSettings
from state.tables import TableWriter
from tests.gateway.conftest import Start, problem, put_items
from tests.gateway.streams import Streams

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*names: str) -> bytes:
    return b"\n".join(orjson.dumps({"item_id": name, "title": name}) for name in names)


async def test_new_items_beyond_the_number_are_refused_and_those_that_are_there_may_change(
    start: Start, streams: Streams
) -> None:
    client = await start(catalogue=CatalogueOptions(max_items=3))
    await put_items(client, *({"item_id": name, "title": name} for name in "abc"))
    await asyncio.sleep(1.1)  # Redis is asked once a second

    refused = await problem(await client.put("/api/items/d", json={"title": "d"}), 507)
    assert refused["detail"] == (
        "the catalogue holds 3 items, catalogue.max_items allows 3: delete items that are no longer sold, or raise it"
    )
    stopped = await problem(await client.post("/api/items", data=lines("a", "e"), headers=NDJSON), 507)
    assert (stopped["accepted"], stopped["rejected"]) == (0, [])
    await put_items(client, {"item_id": "a", "title": "another title"})
    assert (await client.post("/api/items", data=lines("a", "b"), headers=NDJSON)).status == 202
    assert (await client.delete("/api/items/c")).status == 202
    await asyncio.sleep(1.1)
    await put_items(client, {"item_id": "d", "title": "d"})


async def test_items_of_too_many_bytes_are_refused_until_some_are_deleted(
    start: Start, redis_settings: RedisSettings
) -> None:
    table = TableWriter(redis_settings, CATALOGUE, counts_bytes=True)
    client = await start(catalogue=CatalogueOptions(max_bytes=5000), visible_wait_ms=100)
    table.commit({bytes(8): b"x" * 6000})
    refused = await problem(await client.put("/api/items/a", json={"title": "a"}), 507)
    assert "6000 bytes of items, catalogue.max_bytes allows 5000: delete" in refused["detail"]
    table.commit({}, [bytes(8)])
    await asyncio.sleep(1.1)
    assert (await client.put("/api/items/a", json={"title": "a"})).status == 202
    table.close()
