"""A gateway over a catalogue of three shards: what is written is seen by every answer that comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.ids import item_key
from contracts.keys import Keys
from contracts.settings import CatalogueOptions, IndexSettings, RedisSettings
from gateway.sharded_replica import ShardedReplica
from gateway.tables import REPLICAS
from state.client import connect
from state.shards import catalogue_reader, catalogue_writer, shard_of
from tests.gateway.conftest import LOG, Client, Start, problem, put_items
from tests.gateway.streams import Streams

SHARDS = 3
IDS = [f"shoe-{n}" for n in range(30)]


@pytest.fixture
def redis(redis_settings: RedisSettings) -> RedisSettings:
    return redis_settings.model_copy(update={"item_shards": SHARDS})


@pytest.fixture
def flows(redis: RedisSettings) -> Iterator[Streams]:
    with Streams(LOG, redis) as running:
        yield running


@pytest.fixture
async def pair(start: Start, redis: RedisSettings, flows: Streams) -> tuple[Client, Client]:
    """Two gateways: what one wrote, the other must show."""
    return await start(redis=redis), await start(redis=redis)


def item(item_id: str, **more: object) -> dict[str, object]:
    return {"item_id": item_id, "title": f"Shoe {item_id}", "category": "shoes", "price": 10.0, "stock": 5, **more}


async def shown(client: Client) -> set[str]:
    found, is_behind = await answered(client)
    assert not is_behind
    return found


async def answered(client: Client) -> tuple[set[str], bool]:
    """What is recommended, and whether it says that the catalogue may be out of date."""
    asked = {"session_id": "s", "limit": 50}
    answer = await client.post("/api/recommendations/homepage", json=asked)
    assert answer.status == 200, await answer.text()
    body = await answer.json()
    return {one["item_id"] for one in body["recommendations"]}, "catalogue_behind" in body["degraded"]


async def metrics_of(client: Client) -> str:
    return await (await client.get("/metrics")).text()


async def test_what_one_gateway_says_is_visible_every_answer_of_another_shows(pair: tuple[Client, Client]) -> None:
    one, other = pair
    for at, item_id in enumerate(IDS):
        put = await (await one.put(f"/api/items/{item_id}", json={"title": "Shoe", "stock": 5})).json()
        assert put["visible"] is True
        assert await shown(other) == set(IDS[: at + 1])
    stock = await (await other.post("/api/stock", json=[{"item_id": name, "stock": 0} for name in IDS[:9]])).json()
    assert stock["visible"] is True
    assert await shown(one) == set(IDS[9:])
    deleted = await (await one.delete(f"/api/items/{IDS[9]}")).json()
    assert deleted["visible"] is True
    assert await shown(other) == set(IDS[10:])


async def test_rows_are_in_the_shards_and_each_is_followed(pair: tuple[Client, Client], redis: RedisSettings) -> None:
    client, _ = pair
    await put_items(client, *map(item, IDS))
    catalogue = client.app[REPLICAS]["catalogue"]
    assert isinstance(catalogue, ShardedReplica)
    spread = [sum(shard_of(item_key(one), SHARDS) == shard for one in IDS) for shard in range(SHARDS)]
    assert [one.number for one in catalogue.shards] == spread
    metrics = await metrics_of(client)
    assert f'nextclick_gateway_table_change{{table="catalogue"}} {len(IDS)}.0' in metrics
    ready = await (await client.get("/readyz")).json()
    assert ready["tables"]["catalogue"]["following"] is True
    with closing(catalogue_reader(redis)) as reader:
        assert reader.size() == len(IDS)


async def test_a_catalogue_of_shards_is_full_by_what_all_of_them_hold(
    start: Start, redis: RedisSettings, flows: Streams
) -> None:
    client = await start(redis=redis, catalogue=CatalogueOptions(max_items=4))
    await put_items(client, *map(item, IDS[:4]))
    await asyncio.sleep(1.1)
    refused = await problem(await client.put("/api/items/shoe-99", json={"title": "Shoe"}), 507)
    assert "the catalogue holds 4 items" in refused["detail"]


async def test_a_shard_that_lost_its_last_writes_is_loaded_again(
    start: Start, redis: RedisSettings, flows: Streams
) -> None:
    client = await start(redis=redis)
    await put_items(client, *map(item, IDS))
    flows.pause()
    lost = next(one for one in IDS if shard_of(item_key(one), SHARDS) == 1)
    keys = Keys(redis.prefix)
    with closing(connect(redis)) as store:
        store.hdel(keys.table_rows("items:1"), item_key(lost).to_bytes(8, "little"))
        store.set(keys.table_end("items:1"), 2)
        store.xtrim(keys.table_changes("items:1"), maxlen=0, approximate=False)
    async with asyncio.timeout(60):
        while await answered(client) != (set(IDS) - {lost}, False):  # noqa: ASYNC110 (followed in the background)
            await asyncio.sleep(0.01)
    loads = [one.loads for one in client.app[REPLICAS]["catalogue"].shards]
    assert (loads[0], loads[2]) == (1, 1)
    assert loads[1] > 1
    flows.resume()


async def test_a_snapshot_of_shards_is_taken_up_and_gone_on_from(
    start: Start, redis: RedisSettings, flows: Streams, tmp_path: Path
) -> None:
    from retrieval.build import build
    from session_model.serving import load_tower
    from tests.retrieval.tables import service

    index = IndexSettings(folder=str(tmp_path), min_items=1, check=timedelta(milliseconds=20))
    client = await start(redis=redis, index=index)
    await put_items(client, *map(item, IDS[:20]))
    with closing(catalogue_reader(redis)) as reader:
        built = build(service(redis, tmp_path), reader, load_tower(""))
    assert (built.manifest.change, len(built.manifest.shards)) == (20, 3)
    await put_items(client, *map(item, IDS[20:]))
    async with asyncio.timeout(60):
        while "nextclick_gateway_index_swaps_total 1.0" not in await metrics_of(client):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await shown(client) == set(IDS)
    with closing(connect(redis)) as store:  # nobody is told, so only who loads all rows would miss it
        shard = shard_of(item_key(IDS[0]), SHARDS)
        store.hdel(Keys(redis.prefix).table_rows(f"items:{shard}"), item_key(IDS[0]).to_bytes(8, "little"))
    again = await start(redis=redis, index=index)
    assert await shown(again) == set(IDS)
    await put_items(again, item("shoe-30"))
    assert await shown(client) == {*IDS, "shoe-30"}


async def test_a_gateway_with_another_number_of_shards_is_not_ready(
    start: Start, redis: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(catalogue_writer(redis)) as table:
        table.claim()
        table.commit({item_key("shoe-1").to_bytes(8, "little"): b"row"})
    starting = asyncio.create_task(start(redis=redis.model_copy(update={"item_shards": 1})))  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        while "NEXTCLICK_REDIS__ITEM_SHARDS says 1: set it to 3" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not starting.done()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
