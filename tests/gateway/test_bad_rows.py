"""A row that cannot be taken, of any table, is left out alone: the gateway goes on following, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from contracts.keys import CATALOGUE, TRENDS
from contracts.settings import RedisSettings
from eventlog.open_log import open_dead_letters
from gateway.replica import Replica
from gateway.tables import REPLICAS
from state.tables import TableWriter
from tests.damage import TABLES, TableRows
from tests.gateway.conftest import LOG, Client, Start


def replica_of(client: Client, name: str) -> Replica:
    return client.app[REPLICAS][name]


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 (a table is followed in the background)
            await asyncio.sleep(0.005)


async def metrics(client: Client, table: str) -> dict[str, float]:
    """Return the numbers of one table."""
    text = await (await client.get("/metrics")).text()
    label = f'{{table="{table}"}} '
    found = (line.split(label) for line in text.splitlines() if label in line)
    return {name.removeprefix("nextclick_gateway_table_"): float(value) for name, value in found}


async def expect_serving(client: Client, table: str, *, rows: int, skipped: int, kind: str = "") -> None:
    """Expect, behind a row of this kind, readiness to be true and told, and an answer that leaves nothing of it out."""
    ready = await client.get("/readyz")
    document = await ready.json()
    assert (ready.status, document["ready"]) == (200, True)
    assert document["tables"][table]["following"] is True
    found = await metrics(client, table)
    assert (found["rows"], found["skipped_total"], found["following"]) == (rows, skipped, 1), kind
    response = await client.post("/api/recommendations/homepage", json={"session_id": "s-1"})
    answer: dict[str, Any] = await response.json()
    assert (response.status, answer["degraded"]) == (200, ["general_model"])


async def letters_of(redis_settings: RedisSettings, count: int) -> list[tuple[str, str]]:
    letters = open_dead_letters(LOG, redis_settings)
    await until(lambda: letters.count() >= count)
    kept = [(letter.source.partition(":")[0], letter.reason) for letter in letters.read(100)]
    letters.close()
    return kept


def bad_rows(table: TableRows) -> dict[bytes, bytes]:
    """Return a row of each kind that cannot be taken, under names of their own."""
    return {table.name(f"bad-{kind}"): row for kind, row in table.kinds().items()}


@pytest.mark.parametrize("name", list(TABLES))
async def test_bad_rows_that_are_there_at_the_start_are_left_out_alone(
    redis_settings: RedisSettings, start: Start, name: str
) -> None:
    table, bad = TABLES[name], bad_rows(TABLES[name])
    writer = TableWriter(redis_settings, table.table)
    writer.commit({**table.put("before"), **bad, **table.put("good")})
    client = await start()
    await until(lambda: replica_of(client, name).following)
    await expect_serving(client, name, rows=2, skipped=len(bad))
    writer.close()


@pytest.mark.parametrize("name", list(TABLES))
async def test_a_bad_row_that_comes_later_is_left_out_alone_and_kept_as_a_dead_letter(
    redis_settings: RedisSettings, client: Client, name: str
) -> None:
    table, writer = TABLES[name], TableWriter(redis_settings, TABLES[name].table)
    writer.commit(table.put("before"))
    for number, (kind, row) in enumerate(table.kinds().items(), start=1):
        own = "x" * number  # names of which no two have one slot
        writer.commit({table.name("bad"): row, **table.put(f"good-{own}")})
        end = writer.commit(table.put(f"after-{own}"))
        async with asyncio.timeout(60):
            assert await replica_of(client, name).catch_up(end)
        await expect_serving(client, name, rows=1 + 2 * number, skipped=number, kind=kind)
    count = len(table.kinds())
    assert await letters_of(redis_settings, count) == [(table.table, "bad_row")] * count
    writer.close()


async def test_bad_rows_among_thousands_cost_few_of_them(redis_settings: RedisSettings, client: Client) -> None:
    table = TABLES["trends"]
    names = [f"i{n}" for n in range(5000)]
    rows = table.put(*names)
    for name in names[::1000]:
        rows[table.name(name)] = b"\x03cut"
    writer = TableWriter(redis_settings, table.table)
    end = writer.commit(rows)
    async with asyncio.timeout(60):
        assert await replica_of(client, "trends").catch_up(end)
    await expect_serving(client, "trends", rows=4995, skipped=5)
    writer.close()


async def test_what_was_known_of_an_item_is_forgotten_when_its_row_cannot_be_read_and_comes_back_with_a_good_one(
    redis_settings: RedisSettings, client: Client
) -> None:
    table = TABLES["catalogue"]
    writer = TableWriter(redis_settings, CATALOGUE)
    catalogue = client.app[REPLICAS]["catalogue"]

    async def status_after(raw: bytes) -> int:
        assert await catalogue.catch_up(writer.commit({table.name("shoe"): raw}))
        return (await client.get("/api/items/shoe")).status

    good = table.row("shoe")
    assert [await status_after(raw) for raw in (good, good[:-3], good)] == [200, 404, 200]
    writer.close()


async def test_a_damaged_trend_never_stays_in_the_sums_over_all_items(
    redis_settings: RedisSettings, client: Client
) -> None:
    table = TABLES["trends"]
    writer = TableWriter(redis_settings, TRENDS)
    for kind in ("NaN count", "infinite count", "NaN click origins"):
        writer.commit({table.name("bad"): table.kinds()[kind]})
    end = writer.commit(table.put("good", "bad"))
    assert await client.app[REPLICAS]["trends"].catch_up(end)
    await expect_serving(client, "trends", rows=2, skipped=3)
    writer.close()


@pytest.mark.parametrize("key", [b"", b"short", b"longer than any key of ours"])
@pytest.mark.parametrize("name", list(TABLES))
async def test_a_key_of_another_length_stops_nothing(
    redis_settings: RedisSettings, start: Start, name: str, key: bytes
) -> None:
    table = TABLES[name]
    writer = TableWriter(redis_settings, table.table)
    writer.commit({**table.put("before"), key: table.row("bad")})
    client = await start()
    end = writer.commit({key: table.row("bad")} | table.put("after"))
    writer.commit({}, [key])
    async with asyncio.timeout(60):
        assert await replica_of(client, name).catch_up(end + 1)
    ready = await (await client.get("/readyz")).json()
    assert ready["tables"][name]["following"] is True
    assert (await metrics(client, name))["rows"] >= 2
    writer.close()
