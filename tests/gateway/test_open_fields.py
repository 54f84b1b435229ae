"""A client's own fields over HTTP: any name is taken, and none takes the place of a field of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_dead_letters, open_writer
from gateway.tables import REPLICAS
from state.tables import TableWriter
from tests.gateway.conftest import LOG, Client, Start, event, problem, put_items
from tests.gateway.streams import Streams
from tests.gateway.test_items import NDJSON
from tests.open_fields import NAMES

TAKEN = {"accepted": 1, "rejected": [], "visible": True}
PLAIN = {"category": ""}
OWN = dict.fromkeys(NAMES, "A")
MANY = {f"field {number}": number for number in range(5000)}


async def answer_of(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def recommended(client: Client) -> set[str]:
    response = await client.post("/api/recommendations/homepage", json={"session_id": "looks", "limit": 100})
    answer = await response.json()
    assert response.status == 200, answer
    return {one["product_id"] for one in answer["recommendations"]}


async def set_stock(client: Client, item_id: str, stock: int) -> None:
    response = await client.post("/api/stock", json=[{"item_id": item_id, "stock": stock}])
    assert (response.status, await response.json()) == (202, TAKEN)


async def goes_out_of_stock_and_away(client: Client, item_id: str) -> None:
    """Stock 0 takes the item out of recommendations, DELETE out of the catalogue."""
    await set_stock(client, item_id, 1)
    assert item_id in await recommended(client)
    await set_stock(client, item_id, 0)
    assert item_id not in await recommended(client)
    assert (await answer_of(client, f"/api/items/{item_id}"))["stock"] == 0
    response = await client.delete(f"/api/items/{item_id}")
    assert (response.status, await response.json()) == (202, TAKEN)
    await problem(await client.get(f"/api/items/{item_id}"), 404)


async def test_any_field_name_is_taken_and_shown(client: Client, streams: Streams) -> None:
    items = {f"p{at}": {"title": "x", name: "A"} for at, name in enumerate(NAMES)}
    items |= {"all": {"title": "x", **OWN}, "many": {"title": "x", **MANY}}
    for item_id, item in items.items():
        response = await client.put(f"/api/items/{item_id}", json=item)
        assert (response.status, await response.json()) == (202, TAKEN)
        assert await answer_of(client, f"/api/items/{item_id}") == {"item_id": item_id, **PLAIN, **item}
    listed = (await answer_of(client, "/api/items?limit=200"))["items"]
    assert {one["item_id"]: one for one in listed} == {
        item_id: {"item_id": item_id, **PLAIN, **item} for item_id, item in items.items()
    }
    await goes_out_of_stock_and_away(client, "all")


async def test_a_bulk_load_takes_any_field_name(client: Client, streams: Streams) -> None:
    items = {f"p{at}": {"title": "x", name: "A"} for at, name in enumerate(NAMES)}
    items |= {"all": {"title": "x", "price": "9.5", **OWN}, "many": {"title": "x", **MANY}}
    lines = [orjson.dumps({"item_id": item_id, **item}) for item_id, item in items.items()]
    response = await client.post("/api/items", data=b"\n".join(lines), headers=NDJSON)
    assert (response.status, await response.json()) == (
        202,
        {"accepted": len(items), "rejected": [], "visible": True},
    )
    items["all"]["price"] = 9.5
    for item_id, item in items.items():
        assert await answer_of(client, f"/api/items/{item_id}") == {"item_id": item_id, **PLAIN, **item}
    await goes_out_of_stock_and_away(client, "all")


async def test_a_gateway_that_starts_later_and_the_sessions_flow_take_such_items(
    start: Start, streams: Streams
) -> None:
    first = await start()
    await put_items(first, {"item_id": "all", "title": "x", **OWN}, {"item_id": "plain", "title": "y"})
    await first.close()
    later = await start()
    assert await answer_of(later, "/api/items/all") == {"item_id": "all", "title": "x", **PLAIN, **OWN}
    sent = await (await later.post("/api/events", json=event("e-1", "s-9", "all"))).json()
    response = await later.post("/api/recommendations/homepage", json={"session_id": "s-9", "after": sent["token"]})
    answer = await response.json()
    assert (answer["session"]["events"], answer.get("stale")) == (1, None)
    await goes_out_of_stock_and_away(later, "all")


async def test_events_and_contexts_may_have_any_field_name(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", "title": "x"})
    own = {**OWN, "dead_lettered": 1}
    sent = await client.post("/api/events", json=[{**own, **event("e-1", context=own)}])
    taken = await sent.json()
    assert (sent.status, taken["accepted"], taken["rejected"]) == (202, 1, [])
    question = {
        "session_id": "s-1",
        "after": taken["token"],
        "context": own,
        "recent_events": [{**own, **event("e-2", context=own)}],
    }
    response = await client.post("/api/recommendations/homepage", json=question)
    answer = await response.json()
    assert response.status == 200, answer
    assert (answer["session"]["events"], answer["degraded"]) == (2, ["general_model"])
    assert {one["product_id"] for one in answer["recommendations"]} <= {"shoe-1"}


@pytest.mark.parametrize("other", ["B", "a", "A ", 7, True, ["A"], {"id": "A"}, ""])
async def test_a_body_that_names_another_item_than_the_path_is_422(client: Client, other: Any) -> None:
    response = await client.put("/api/items/A", json={"title": "t", "item_id": other, "stock": 5})
    document = await problem(response, 422)
    assert [one["pointer"] for one in document["errors"]] == ["/item_id"]
    assert document["errors"][0]["detail"].startswith("expected the item of the path, 'A', or no item_id, got ")


@pytest.mark.parametrize("same", ["A", None])
async def test_a_body_may_name_the_item_of_the_path(client: Client, streams: Streams, same: str | None) -> None:
    response = await client.put("/api/items/A", json={"title": "t", "item_id": same, "stock": 5})
    assert (response.status, await response.json()) == (202, TAKEN)
    assert await answer_of(client, "/api/items/A") == {"item_id": "A", "title": "t", **PLAIN, "stock": 5}
    await goes_out_of_stock_and_away(client, "A")


async def test_an_item_that_came_past_the_door_keeps_the_id_of_its_record(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    item = {"title": "t", "item_id": "B", "stock": 5}
    writer = open_writer(LOG, redis_settings)
    writer.append(Topic.ITEMS, [Record("A", orjson.dumps({"op": "put", "item_id": "A", "item": item}))])
    writer.close()
    await put_items(client, {"item_id": "later", "title": "t"})
    async with asyncio.timeout(60):
        while (await client.get("/api/items/A")).status != 200:  # noqa: ASYNC110 (another partition)
            await asyncio.sleep(0.01)
    assert await answer_of(client, "/api/items/A") == {"item_id": "A", "title": "t", **PLAIN, "stock": 5}
    assert (await client.get("/api/items/B")).status == 404
    await goes_out_of_stock_and_away(client, "A")
    assert open_dead_letters(LOG, redis_settings).count() == 0


async def test_a_stored_row_under_anothers_id_is_left_out_until_its_item_changes(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    table = TableWriter(redis_settings, CATALOGUE)
    end = table.commit(
        {
            item_key(item_id).to_bytes(8, "little"): encode_row(CatalogueRow(stored, Item(title=stored), 5, 1, 0, b""))
            for item_id, stored in (("A", "B"), ("C", "D"), ("good", "good"))
        }
    )
    assert await client.app[REPLICAS]["catalogue"].catch_up(end)  # type: ignore[union-attr]
    assert [one["item_id"] for one in (await answer_of(client, "/api/items"))["items"]] == ["good"]
    await goes_out_of_stock_and_away(client, "A")
    assert await recommended(client) == {"good"}
    await put_items(client, {"item_id": "C", "title": "c"})
    await goes_out_of_stock_and_away(client, "C")
    letters = open_dead_letters(LOG, redis_settings)
    async with asyncio.timeout(60):
        while letters.count() < 2:  # noqa: ASYNC110 (written in the background)
            await asyncio.sleep(0.02)
    assert {(letter.reason, letter.detail) for letter in letters.read(10)} == {
        ("bad_row", f"expected the row of an item id with the key {item_key('A'):016x}, got 'B': put the item again"),
        ("bad_row", f"expected the row of an item id with the key {item_key('C'):016x}, got 'D': put the item again"),
    }
