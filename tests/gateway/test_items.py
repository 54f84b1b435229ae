"""Writing and reading the catalogue."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from eventlog.open_log import open_dead_letters
from gateway.keys import MODELS
from gateway.tables import REPLICAS
from nextclick.stack.shop_models import ARTIFACTS
from session_model import artifact
from session_model.encoder import GATE_ARRAYS
from session_model.item_tower import TOWER_ARRAYS
from state.embedded import EmbeddedRedis
from state.tables import TableWriter
from tests.gateway.conftest import LOG, Client, Start, problem, put_items
from tests.gateway.streams import Streams

SHOE = {"title": "Trail shoe", "category": "shoes/running", "price": 129.0, "brand": "Fell", "colour": "moss"}
NDJSON = {"Content-Type": "application/x-ndjson"}


async def test_a_put_item_is_visible_when_it_is_answered(client: Client, streams: Streams) -> None:
    response = await client.put("/api/items/shoe-1", json={**SHOE, "stock": 3})
    assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": [], "visible": True})
    read = await client.get("/api/items/shoe-1")
    assert (read.status, await read.json()) == (200, {"item_id": "shoe-1", **SHOE, "stock": 3})


async def test_an_item_without_stock_never_runs_out_and_shows_none(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    assert "stock" not in await (await client.get("/api/items/shoe-1")).json()


async def test_a_patch_changes_what_it_names_and_leaves_the_rest(client: Client, streams: Streams) -> None:
    await client.put("/api/items/shoe-1", json={**SHOE, "stock": 3, "attributes": {"size": 42, "fit": {"cut": "slim"}}})
    await client.post("/api/stock", json=[{"item_id": "shoe-1", "stock": 7}])
    patch = {"price": 99, "brand": None, "attributes": {"size": None, "fit": {"width": "D"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    response = await client.patch("/api/items/shoe-1", data=orjson.dumps(patch), headers=merge)
    assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": [], "visible": True})
    assert await (await client.get("/api/items/shoe-1")).json() == {
        "item_id": "shoe-1",
        "title": "Trail shoe",
        "category": "shoes/running",
        "price": 99.0,
        "colour": "moss",
        "attributes": {"fit": {"cut": "slim", "width": "D"}},
        "stock": 7,
    }
    await client.patch("/api/items/shoe-1", json={"stock": 0, "price": None})
    read = await (await client.get("/api/items/shoe-1")).json()
    assert (read["stock"], "price" in read) == (0, False)


@pytest.mark.parametrize(
    ("item_id", "patch", "status", "said"),
    [
        ("shoe-2", {"price": 1}, 404, "the catalogue has no item 'shoe-2': put it first"),
        ("shoe-1", {"title": None}, 422, "/title: Field required"),
        ("shoe-1", {"price": -1}, 422, "/price: Input should be greater than or equal to 0"),
        ("shoe-1", {"item_id": "shoe-2"}, 422, "/item_id: expected the item of the path"),
        ("shoe-1", [1], 400, "expected a JSON object"),
    ],
    ids=["unknown", "title", "price", "id", "array"],
)
async def test_a_patch_that_makes_no_item_is_refused(
    client: Client, streams: Streams, item_id: str, patch: object, status: int, said: str
) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    assert said in (await problem(await client.patch(f"/api/items/{item_id}", json=patch), status))["detail"]
    assert (await (await client.get("/api/items/shoe-1")).json())["price"] == 129.0


@pytest.mark.parametrize("depth", [201, 1_010, 100_000])
async def test_a_patch_that_is_nested_too_deep_is_refused(client: Client, streams: Streams, depth: int) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    body = '{"attributes":' + '{"a":' * depth + "1" + "}" * depth + "}"
    answer = await client.patch("/api/items/shoe-1", data=body, headers={"Content-Type": "application/json"})
    assert answer.status in (400, 422), await answer.text()
    assert "attributes" not in await (await client.get("/api/items/shoe-1")).json()


async def test_patches_do_not_add_up_to_more_than_an_item_may_have(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    assert (await client.patch("/api/items/shoe-1", json={"attributes": {"a": "x" * 600_000}})).status == 202
    refused = await client.patch("/api/items/shoe-1", json={"attributes": {"b": "x" * 600_000}})
    assert "bytes" in (await problem(refused, 413))["detail"]
    assert list((await (await client.get("/api/items/shoe-1")).json())["attributes"]) == ["a"]


async def test_an_item_without_a_price_has_none(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", "title": "Shoe"}, {"item_id": "shoe-2", "title": "Shoe", "price": 0})
    assert "price" not in await (await client.get("/api/items/shoe-1")).json()
    assert (await (await client.get("/api/items/shoe-2")).json())["price"] == 0.0
    for condition, ids in (("price < 5", ["shoe-2"]), ("not has(price)", ["shoe-1"])):
        asked = {"session_id": "s", "filter": condition}
        answer = await (await client.post("/api/recommendations/homepage", json=asked)).json()
        assert [one["item_id"] for one in answer["recommendations"]] == ids


async def test_an_id_with_a_slash_and_a_space_is_one_id(client: Client, streams: Streams) -> None:
    response = await client.put("/api/items/a%2Fb%20c", json=SHOE)
    assert (await response.json())["visible"] is True
    assert (await (await client.get("/api/items/a%2Fb%20c")).json())["item_id"] == "a/b c"


async def test_a_deleted_item_is_gone(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE})
    response = await client.delete("/api/items/shoe-1")
    assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": [], "visible": True})
    gone = await problem(await client.get("/api/items/shoe-1"), 404)
    assert gone["detail"] == "the catalogue has no item 'shoe-1'"


async def test_a_write_is_accepted_but_not_visible_while_the_items_flow_stands(start: Start) -> None:
    client = await start(visible_wait_ms=50)
    response = await client.put("/api/items/shoe-1", json=SHOE)
    assert (response.status, await response.json()) == (202, {"accepted": 1, "rejected": [], "visible": False})


async def test_stock_updates_are_taken_one_by_one(client: Client, streams: Streams) -> None:
    await put_items(client, {"item_id": "shoe-1", **SHOE}, {"item_id": "shoe-2", **SHOE})
    updates = [{"item_id": "shoe-1", "stock": 0}, {"item_id": "shoe-2", "stock": -1}, "x", {"item_id": "shoe-2"}]
    response = await client.post("/api/stock", json=updates)
    answer = await response.json()
    assert (response.status, answer["accepted"], answer["visible"]) == (202, 1, True)
    assert [one["index"] for one in answer["rejected"]] == [1, 2, 3]
    assert answer["rejected"][0]["reason"] == "invalid: /stock: Input should be greater than or equal to 0"
    assert (await (await client.get("/api/items/shoe-1")).json())["stock"] == 0


async def test_stock_that_is_no_array_is_400(client: Client) -> None:
    response = await client.post("/api/stock", json={"item_id": "shoe-1", "stock": 0})
    assert (await problem(response, 400))["detail"] == 'expected an array of {"item_id", "stock"}, got dict'


async def test_a_bulk_load_takes_good_lines_and_names_bad_ones(client: Client, streams: Streams) -> None:
    lines = [
        orjson.dumps({"item_id": "shoe-1", **SHOE}),
        b"{not json",
        b"",
        orjson.dumps({"item_id": "shoe-2", "title": "Nameless", "price": -1}),
        orjson.dumps(SHOE),
        b"[1]",
        orjson.dumps({"item_id": "shoe-3", **SHOE, "stock": 2}),
    ]
    response = await client.post("/api/items", data=b"\n".join(lines), headers=NDJSON)
    answer = await response.json()
    assert (response.status, answer["accepted"], answer["visible"]) == (202, 2, True)
    assert [(one["index"], one["reason"].split(":")[0]) for one in answer["rejected"]] == [
        *((1, "not_json"), (3, "invalid"), (4, "invalid"), (5, "invalid"))
    ]
    assert "/price" in answer["rejected"][1]["reason"]
    assert "/item_id" in answer["rejected"][2]["reason"]
    assert (await (await client.get("/api/items/shoe-3")).json())["stock"] == 2


async def test_a_bulk_load_larger_than_the_body_limit_streams_in(start: Start, streams: Streams) -> None:
    client = await start(max_body_bytes=2048)
    lines = [orjson.dumps({"item_id": f"shoe-{n}", **SHOE}) for n in range(1200)]
    lines[700] = orjson.dumps({"item_id": "long", **SHOE, "description": "x" * 4000})
    response = await client.post("/api/items", data=b"\n".join(lines) + b"\n", headers=NDJSON)
    answer = await response.json()
    assert (response.status, answer["accepted"], answer["visible"]) == (202, 1199, True)
    assert [(one["index"], one["reason"].split(":")[0]) for one in answer["rejected"]] == [(700, "too_large")]
    found = await (await client.get("/api/items?limit=200")).json()
    assert len(found["items"]) == 200


async def test_a_body_of_nonsense_is_given_up_on(client: Client) -> None:
    response = await client.post("/api/items", data=b"no\n" * 5000, headers=NDJSON)
    document = await problem(response, 422)
    assert document["detail"].startswith("more than 1000 lines were refused")
    assert (document["accepted"], len(document["rejected"])) == (0, 1000)


async def test_a_bulk_load_that_the_log_stops_says_how_far_it_came(start: Start, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        client = await start(redis=RedisSettings(url=server.url, timeout_ms=60_000))
        server.kill()
        line = orjson.dumps({"item_id": "shoe-1", **SHOE})
        document = await problem(await client.post("/api/items", data=line, headers=NDJSON), 503)
        assert (document["accepted"], document["rejected"]) == (0, [])
        await client.close()


@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        ({}, "/title"),
        ({**SHOE, "price": -1}, "/price"),
        ({**SHOE, "stock": 2**31}, "/stock"),
        ({**SHOE, "image_vector": [0.5, "x"]}, "/image_vector/1"),
    ],
)
async def test_a_field_out_of_range_is_422_and_pointed_at(
    client: Client, item: dict[str, object], pointer: str
) -> None:
    document = await problem(await client.put("/api/items/shoe-1", json=item), 422)
    assert [one["pointer"] for one in document["errors"]] == [pointer]


async def test_an_id_that_is_too_long_is_422(client: Client) -> None:
    document = await problem(await client.put("/api/items/" + "x" * 257, json=SHOE), 422)
    assert document["detail"] == "expected an item id of at most 256 characters, got 257"


async def test_of_an_item_that_a_bulk_load_brings_twice_the_last_counts(client: Client, streams: Streams) -> None:
    await put_items(client, *({"item_id": "shoe-1", **SHOE, "price": float(price)} for price in (3, 1, 2)))
    assert (await (await client.get("/api/items/shoe-1")).json())["price"] == 2.0


async def test_a_bulk_load_wants_ndjson(client: Client) -> None:
    document = await problem(await client.post("/api/items", json=[SHOE]), 415)
    assert "application/x-ndjson" in document["detail"]


async def test_items_are_listed_by_category_and_by_id(client: Client, streams: Streams) -> None:
    items = [("shoe-1", "shoes/running"), ("shoe-2", "shoes/running/trail"), ("lamp-1", "lamps"), ("s", "shoes/runn")]
    await put_items(client, *({"item_id": name, "title": name, "category": path} for name, path in items))

    async def names(query: str) -> list[str]:
        answer = await (await client.get("/api/items" + query)).json()
        return [item["item_id"] for item in answer["items"]]

    assert sorted(await names("")) == ["lamp-1", "s", "shoe-1", "shoe-2"]
    assert sorted(await names("?category=shoes/running")) == ["shoe-1", "shoe-2"]
    assert await names("?ids=lamp-1,nothing,shoe-1") == ["lamp-1", "shoe-1"]
    assert len(await names("?limit=2")) == 2
    document = await problem(await client.get("/api/items?limit=0"), 422)
    assert document["errors"][0]["pointer"] == "/limit"


@pytest.fixture
def sees_images(tmp_path: Path) -> str:
    """Artifacts of a model that takes image vectors of three numbers."""
    shutil.copytree(ARTIFACTS / artifact.SESSION_MODEL, tmp_path / artifact.SESSION_MODEL)
    folder = tmp_path / artifact.SESSION_MODEL
    manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
    arrays = artifact.read_arrays(folder, manifest, (*TOWER_ARRAYS, *GATE_ARRAYS))
    arrays["image_projection"] = np.ones((3, manifest.dim), np.float32)
    artifact.save(folder, kind=artifact.SESSION_MODEL, dim=manifest.dim, arrays=arrays, created_from={})
    return str(tmp_path)


async def test_an_image_vector_of_another_size_is_refused_at_the_door(start: Start, sees_images: str) -> None:
    client = await start(artifacts=sees_images, visible_wait_ms=1)
    refused = await problem(await client.put("/api/items/a", json={**SHOE, "image_vector": [0.1, 0.2]}), 422)
    said = "image_vector: expected 3 numbers, as the model was trained with, got 2"
    assert refused["errors"] == [{"pointer": "/image_vector", "detail": said}]
    lines = [{"item_id": "a", **SHOE, "image_vector": [0.1] * n} for n in (2, 3)]
    loaded = await client.post("/api/items", data=b"\n".join(map(orjson.dumps, lines)), headers=NDJSON)
    answer = await loaded.json()
    assert (answer["accepted"], answer["rejected"]) == (1, [{"index": 0, "reason": f"invalid: /{said}"}])


async def test_an_image_vector_that_is_not_finite_is_refused_at_the_door(client: Client) -> None:
    for number in (b"1e999", b"-1e300"):
        body = b'{"title": "a", "image_vector": [%b]}' % number
        response = await client.put("/api/items/a", data=body, headers={"Content-Type": "application/json"})
        assert response.status in (400, 422)


async def test_a_row_with_a_bad_vector_is_dead_lettered_once_by_all_processes(
    start: Start, redis_settings: RedisSettings
) -> None:
    clients = [await start(artifacts=str(ARTIFACTS)) for _ in range(2)]
    version = clients[0].app[MODELS]().encoder.version  # type: ignore[union-attr]
    rows = {}
    for name, numbers in (("nan", [float("nan")] * 128), ("short", [1.0] * 127), ("good", [0.125] * 128)):
        vector = np.array(numbers, "<f4").tobytes()
        rows[item_key(name).to_bytes(8, "little")] = encode_row(
            CatalogueRow(name, Item(title=name), 1, 1, version, vector)
        )
    end = TableWriter(redis_settings, CATALOGUE).commit(rows)
    for one in clients:
        assert await one.app[REPLICAS]["catalogue"].catch_up(end)
        assert (await one.get("/api/items/good")).status == 200
        assert (await one.get("/api/items/nan")).status == 404
    letters = open_dead_letters(LOG, redis_settings)
    async with asyncio.timeout(60):
        while letters.count() < 2:  # noqa: ASYNC110 (written in the background)
            await asyncio.sleep(0.02)
    for one in clients:
        await one.close()
    kept = sorted((letter.reason, letter.detail) for letter in letters.read(10))
    assert kept == [
        ("bad_row", "item 'nan': expected finite numbers in its vector, got NaN or infinity"),
        (
            "bad_row",
            "item 'short': expected a vector of 128 float32 (512 bytes), got 508 bytes: "
            f"embed the catalogue again with model {version:016x}",
        ),
    ]


async def test_an_item_that_is_larger_than_the_log_takes_is_refused_alone(client: Client, streams: Streams) -> None:
    large = {**SHOE, "about": "x" * 1_000_000}
    await problem(await client.put("/api/items/large", json=large), 413)
    lines = [{"item_id": name, **fields} for name, fields in (("a", SHOE), ("large", large), ("b", SHOE))]
    body = b"\n".join(map(orjson.dumps, lines))
    answer = await (await client.post("/api/items", data=body, headers=NDJSON)).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["reason"].split(" bytes")[0].split(":")[0]) for one in answer["rejected"]] == [
        (1, "too_large")
    ]
