"""The index of a running gateway: opened from a snapshot, exchanged while it serves, never with another model's."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow
from contracts.keys import CATALOGUE
from contracts.settings import IndexSettings, LogSettings, RedisSettings
from gateway.app import create_app
from gateway.background import running
from gateway.keys import CATALOGUE as COLUMNS
from gateway.live_index import LiveIndex
from gateway.models import load_models
from gateway.replica import Replica
from gateway.replicas import keys_of
from gateway.settings import GatewayOptions, GatewaySettings
from gateway.tables import REPLICAS
from nextclick.stack.shop_models import ARTIFACTS
from retrieval import snapshot
from retrieval.snapshot_folder import WANTED
from session_model import artifact
from state.async_tables import AsyncTableReader
from tests.gateway.catalogue_table import ITEMS, Table, other_model
from tests.gateway.conftest import PATIENT, event, ready
from tests.gateway.streams import Streams

Client = TestClient[Request, Application]
Started = Callable[[], Awaitable[Client]]


@pytest.fixture
def settings(redis_settings: RedisSettings, tmp_path: Path) -> GatewaySettings:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS, artifacts)
    index = IndexSettings.model_validate(
        {"folder": str(tmp_path / "index"), "exact_up_to": 0, "check": 0.05, "canary_share": 1.0}
    )
    options = GatewayOptions(**PATIENT)
    return GatewaySettings(
        redis=redis_settings, log=LogSettings(partitions=4), artifacts=str(artifacts), index=index, gateway=options
    )


@pytest.fixture
async def table(settings: GatewaySettings) -> AsyncIterator[Table]:
    made = Table(settings)
    made.put(ITEMS)
    yield made
    made.close()


@pytest.fixture
async def started(settings: GatewaySettings) -> AsyncIterator[Started]:
    clients: list[Client] = []

    async def start() -> Client:
        client: Client = TestClient(TestServer(create_app(settings)))
        clients.append(client)
        await client.start_server()
        await ready(client)
        return client

    yield start
    for client in clients:
        await client.close()


async def ask(client: Client, item_id: str, **more: Any) -> dict[str, Any]:
    body = {"session_id": "s", "item_id": item_id, "limit": 20, **more}
    async with client.post("/api/recommendations/product", json=body) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in answer["recommendations"]]


async def metric(client: Client, name: str) -> float:
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"nextclick_gateway_{name} "))


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 100.0) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 (a metric of another server)
            await asyncio.sleep(0.02)


async def swapped(client: Client, times: int = 1) -> None:
    async def is_so() -> bool:
        return await metric(client, "index_swaps_total") >= times

    await until(is_so)


async def stopped(asking: asyncio.Task[None]) -> None:
    """End what asks for ever, and raise what it met."""
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def test_a_gateway_starts_from_a_snapshot_and_what_came_after(table: Table, started: Started) -> None:
    table.build()
    end = table.put([("fresh", ITEMS[0][1])])
    client = await started()
    assert client.app[REPLICAS]["catalogue"].number == end
    assert await metric(client, "index_base_items") == len(ITEMS)
    assert await metric(client, "index_delta_items") == 1
    assert "fresh" in ids_of(await ask(client, ITEMS[0][0]))


async def test_a_new_snapshot_is_taken_up_while_answers_go_on(table: Table, started: Started) -> None:
    table.build()
    client = await started()
    before = ids_of(await ask(client, ITEMS[3][0]))
    answers: list[dict[str, Any]] = []

    async def keep_asking() -> None:
        while True:
            answers.append(await ask(client, ITEMS[3][0]))

    async def answered(more: int) -> None:
        enough = len(answers) + more

        async def is_so() -> bool:
            return len(answers) >= enough or asking.done()

        await until(is_so)

    asking = asyncio.create_task(keep_asking())
    await answered(3)
    table.put([("fresh", ITEMS[3][1])])
    await asyncio.to_thread(table.build)
    await swapped(client)
    await answered(3)
    await stopped(asking)
    assert all(answer["degraded"] == [] for answer in answers)
    after = ids_of(await ask(client, ITEMS[3][0]))
    assert "fresh" in after
    assert len(set(after) & set(before)) >= 15
    assert await metric(client, "index_delta_items") == 0
    assert await metric(client, "index_base_items") == len(ITEMS) + 1


async def test_changes_after_the_exchange_are_seen_at_once(table: Table, started: Started) -> None:
    table.build()
    client = await started()
    table.put([("one", ITEMS[0][1])])
    await asyncio.to_thread(table.build)
    await swapped(client)
    end = table.put([("two", ITEMS[0][1]), (ITEMS[1][0], ITEMS[1][1].model_copy(update={"stock": 0}))])
    assert await client.app[REPLICAS]["catalogue"].catch_up(end)
    shown = ids_of(await ask(client, ITEMS[0][0], limit=50))
    assert {"one", "two"} <= set(shown)
    assert ITEMS[1][0] not in shown


def damage(vectors: Path, how: str) -> None:
    content = bytearray(vectors.read_bytes())
    content[len(content) // 2] ^= 1
    vectors.write_bytes(b"half" if how == "cut" else content)


@pytest.mark.parametrize("how", ["cut", "one bit"])
async def test_a_damaged_snapshot_is_refused_and_the_old_one_serves_on(
    table: Table, started: Started, how: str
) -> None:
    table.build()
    client = await started()
    table.put([("fresh", ITEMS[0][1])])
    folder = Path(table.settings.index.folder)
    good = snapshot.read_pointer(folder).current
    bad = folder / "bad"
    shutil.copytree(folder / str(good), bad)
    damage(bad / "vectors.npy", how)
    snapshot.write_pointer(folder, snapshot.Pointer(current="bad", previous=good))

    async def refused() -> bool:
        return await metric(client, "index_refused_total") == 1

    await until(refused)
    assert "fresh" in ids_of(await ask(client, ITEMS[0][0]))
    assert await metric(client, "index_swaps_total") == 0
    assert snapshot.rollback(folder) == good
    shutil.rmtree(bad)


async def test_a_gateway_that_started_from_a_damaged_snapshot_asks_for_another(table: Table, started: Started) -> None:
    name = table.build().name
    folder = Path(table.settings.index.folder)
    damage(folder / name / "vectors.npy", "one bit")
    client = await started()

    async def asked() -> bool:
        return (folder / WANTED).exists()

    await until(asked)
    assert "the one that serves is damaged" in (folder / WANTED).read_text()
    assert await metric(client, "index_refused_total") == 1
    assert len(ids_of(await ask(client, ITEMS[0][0]))) == 20


async def test_a_damaged_snapshot_whose_pointer_is_lost_too_does_not_end_the_following(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(table.settings.index.folder)
    damaged = table.build().name
    live = LiveIndex(table.settings, load_models(table.settings.artifacts))
    damage(folder / damaged / "vectors.npy", "one bit")
    (folder / snapshot.POINTER).write_text("{")
    reader = AsyncTableReader(table.settings.redis, CATALOGUE)
    catalogue = Replica("catalogue", reader, live.take, keys_of(live.columns), live.start)

    async def asked() -> bool:
        return (folder / WANTED).exists()

    async def taken_up() -> bool:
        return live.swaps == 1

    async def looked_again() -> bool:
        return live.refused >= 4

    async with running(catalogue.run(), live.follow_snapshots(catalogue, lambda models: None)):
        await until(asked)
        await until(looked_again)
        assert (
            caplog.text.count("going on with snapshot") == 2
        )  # what is damaged, and that there is no pointer: each once
        assert "cannot tell which snapshot is current: cannot read" in caplog.text
        assert live.name == damaged
        table.put([("fresh", ITEMS[0][1])])
        whole = await asyncio.to_thread(table.build)
        await until(taken_up)
    await reader.close()
    assert live.name == whole.name
    assert len(live.index) == len(ITEMS) + 1


async def test_an_item_tower_that_cannot_be_loaded_is_said_and_serving_goes_on(
    table: Table, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    table.build()
    client = await started()
    manifest = Path(table.settings.artifacts) / artifact.SESSION_MODEL / artifact.MANIFEST
    manifest.write_text("{")
    row = CatalogueRow("foreign", ITEMS[0][1], 1, 1000, table.tower.version ^ 1, b"")
    end = table.writer.commit({item_key("foreign").to_bytes(8, "little"): encode_row(row)})
    assert await client.app[REPLICAS]["catalogue"].catch_up(end)
    assert "rows of another item tower keep no vector in this process: " in caplog.text
    assert str(manifest) in caplog.text
    assert (await client.get("/api/items/foreign")).status == 200
    assert len(ids_of(await ask(client, ITEMS[0][0]))) == 20


async def test_a_new_tower_comes_with_its_snapshot_or_not_at_all(table: Table, started: Started) -> None:
    table.build()
    client = await started()
    old = (await ask(client, ITEMS[0][0]))["model_version"]
    new = other_model(Path(table.settings.artifacts))
    await asyncio.sleep(0.3)
    assert (await ask(client, ITEMS[0][0]))["model_version"] == old
    versions: list[tuple[str, int]] = []

    async def keep_asking() -> None:
        while True:
            answer = await ask(client, ITEMS[0][0])
            versions.append((answer["model_version"], client.app[COLUMNS].model_version or 0))
            assert len(answer["recommendations"]) == 20

    asking = asyncio.create_task(keep_asking())
    await asyncio.to_thread(table.build)
    await swapped(client)
    answer = await ask(client, ITEMS[0][0])
    await stopped(asking)
    assert answer["model_version"] == new
    assert {version for version, _ in versions} <= {old, new}
    mixed = [pair for pair in versions if pair[0] != f"{pair[1]:016x}"]
    assert len(mixed) <= 1  # an answer that arrived just before the exchange, compared with the columns after it
    end = table.put([("fresh", ITEMS[0][1])])  # the items flow still runs the old tower
    await client.app[REPLICAS]["catalogue"].catch_up(end)
    assert "fresh" in ids_of(await ask(client, ITEMS[0][0]))


async def test_live_searches_are_compared_with_exact_ones(table: Table, started: Started) -> None:
    table.build()
    client = await started()

    async def probed() -> bool:
        await ask(client, ITEMS[0][0])
        return await metric(client, "index_probes_total") >= 1

    await until(probed)
    assert await metric(client, "index_recall") > 0.95
    assert await metric(client, "index_newest_item_age_seconds") > 1e6
    assert await metric(client, "index_tombstone_share") == 0.0


async def test_a_category_or_a_region_fills_the_page(table: Table, started: Started) -> None:
    rare = [(f"rare-{n}", ITEMS[n][1].model_copy(update={"category": "rare/shelf"})) for n in range(25)]
    there = [(f"there-{n}", ITEMS[n][1].model_copy(update={"regions": ["XX"]})) for n in range(25)]
    table.put([*rare, *there])
    table.build()
    client = await started()
    shown = ids_of(await ask(client, ITEMS[700 % len(ITEMS)][0], context={"category": "rare"}))
    assert len(shown) == 20
    assert all(item_id.startswith("rare-") for item_id in shown)
    elsewhere = ids_of(await ask(client, ITEMS[0][0], context={"region": "YY"}))
    assert not any(item_id.startswith("there-") for item_id in elsewhere)
    assert len(elsewhere) == 20


async def test_a_short_page_says_in_the_answer_what_starved_it(table: Table, started: Started) -> None:
    rare = [(f"rare-{n}", ITEMS[n][1].model_copy(update={"category": "rare", "stock": n % 2})) for n in range(10)]
    there = [("there", ITEMS[0][1].model_copy(update={"category": "rare", "regions": ["XX"]}))]
    table.put([*rare, *there])
    table.build()
    client = await started()
    answer = await ask(client, ITEMS[20][0], context={"category": "rare", "region": "YY"})
    assert len(answer["recommendations"]) == 5
    assert answer["starved_by"] == {"items": len(ITEMS) + 11, "category": 11, "region": 10, "in_stock": 5}
    assert "starved_by" not in await ask(client, ITEMS[20][0])


async def test_a_session_of_the_old_tower_is_answered_as_one_of_the_new(table: Table, started: Started) -> None:
    settings = table.settings
    table.build()
    client = await started()
    question = {"session_id": "s-old", "limit": 20}

    async def asked(one: Client, **more: str) -> dict[str, Any]:
        async with one.post("/api/recommendations/homepage", json={**question, **more}) as response:
            found: dict[str, Any] = await response.json()
            return found

    with Streams(settings.log, settings.redis, settings.artifacts):  # the old model's flows go on
        clicks = [event(f"e{n}", "s-old", ITEMS[n][0]) for n in (0, 5)]
        async with client.post("/api/events", json=clicks) as response:
            token = (await response.json())["token"]
        before = await asked(client, after=token)
        assert (before["session"]["events"], before["degraded"]) == (2, [])
        new = other_model(Path(settings.artifacts))
        await asyncio.to_thread(table.build)
        await swapped(client)
        after, fresh = await asked(client), await asked(await started())
    assert before["model_version"] != after["model_version"] == fresh["model_version"] == new
    assert ids_of(after) == ids_of(fresh)
    assert ids_of(after) != ids_of(before)
