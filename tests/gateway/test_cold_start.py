"""Visitors without clicks: the gateway follows what each region clicks, and its answers name their rung."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from contracts.ids import item_key
from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from retrieval.groups import groups_of
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import CountedClick, TrendRules
from state.tables import TableWriter
from tests.gateway.conftest import Client, event
from tests.gateway.streams import Streams
from tests.gateway.test_recommendations import LAMPS, SHOES, ask, ids, put_shop, shown


def count(redis: RedisSettings, *clicks: tuple[str, int, dict[str, Any]]) -> None:
    """Let the trends flow's core count so many clicks on an item, each with such a context, and write its rows."""
    now_ms, counts = time.time_ns() // 1_000_000, TrendCounts(TrendRules())
    counts.apply(
        updates_of(
            [
                CountedClick(now_ms, item_key(name), name, groups=groups_of(**context))
                for name, many, context in clicks
                for _ in range(many)
            ]
        )
    )
    rows = counts.changed_rows()
    writer = TableWriter(redis, TRENDS)
    keys = [key.to_bytes(8, "little") for key in rows.keys.tolist()]
    writer.commit(dict(zip(keys, rows.encoded(), strict=True)))
    writer.close()


async def popular(client: Client, redis: RedisSettings) -> None:
    """Put a shop whose regions, devices and ages click other things."""
    await put_shop(client)
    count(
        redis,
        (SHOES[0], 400, {"region": "north"}),
        (LAMPS[0], 300, {"region": "south"}),
        (SHOES[1], 200, {"device": "phone"}),
        (LAMPS[1], 100, {"age": 70}),
    )
    await shown(client, [SHOES[0], LAMPS[0], SHOES[1], LAMPS[1]])


async def test_each_region_device_and_age_gets_its_own_before_the_first_click(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await popular(client, redis_settings)
    found = {}
    for name, context in {
        "north": {"region": "North"},
        "south": {"region": "south", "age": 40},
        "phone": {"device": "phone"},
        "old": {"age": 66},
    }.items():
        answer = await ask(client, limit=1, context=context)
        assert answer["cold_start"] == "popular_here"
        found[name] = (ids(answer)[0], answer["recommendations"][0]["reason"])
    assert found == {
        "north": ("shoe-0", "popular with visitors like you"),
        "south": ("lamp-0", "popular with visitors like you"),
        "phone": ("shoe-1", "popular with visitors like you"),
        "old": ("lamp-1", "popular with visitors like you"),
    }
    assert (await ask(client, context={"region": "east"}))["cold_start"] == "popular"
    assert (await ask(client, context={"device": {"a": 1}, "age": 20}))["cold_start"] == "popular"


async def test_a_region_is_asked_for_one_category(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await put_shop(client)
    shoes, lamps = {"region": "north"}, {"region": "south"}
    count(
        redis_settings,
        *((name, 90 - at, shoes) for at, name in enumerate(reversed(SHOES))),
        *((name, 190 - at, lamps) for at, name in enumerate(SHOES)),
        *((name, 290, lamps) for name in LAMPS),
    )
    await shown(client, LAMPS)
    context = {"region": "north", "category": "sport/shoes"}
    answer = await ask(client, limit=2, context=context)
    assert (answer["cold_start"], ids(answer)) == ("popular_here", ["shoe-5", "shoe-4"])
    assert ids(await ask(client, limit=2, context=context | {"region": "south"})) == ["shoe-0", "shoe-1"]


async def test_what_the_site_says_of_a_user_counts_where_the_request_says_nothing(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await popular(client, redis_settings)
    assert (await client.put("/api/users/anna", json={"region": "south"})).status == 200
    answer = await ask(client, user_id="anna", limit=1)
    assert (answer["cold_start"], ids(answer)) == ("popular_here", ["lamp-0"])
    assert ids(await ask(client, user_id="anna", limit=1, context={"region": "north"})) == ["shoe-0"]


async def test_the_ladder_goes_up_with_what_is_known(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await put_shop(client)
    assert (await ask(client))["cold_start"] == "newest"
    await popular(client, redis_settings)
    assert (await ask(client))["cold_start"] == "popular"
    assert (await client.put("/api/users/anna", json={"wishlist": ["lamp-3"]})).status == 200
    assert (await ask(client, user_id="anna", context={"region": "north"}))["cold_start"] == "said"
    assert (await ask(client, placement="product", item_id="shoe-3"))["cold_start"] == "page"
    assert (await ask(client, placement="search", candidates=["lamp-2", "shoe-2"]))["cold_start"] == "given"
    recent = [event("e-1", item_id="lamp-2")]
    assert (await ask(client, user_id="anna", recent_events=recent))["cold_start"] == "session"
    response = await client.post(
        "/api/pages", json={"session_id": "s-9", "lists": [{"scenario": "homepage"}, {"scenario": "email"}]}
    )
    assert [one["cold_start"] for one in (await response.json())["lists"]] == ["popular", "popular"]


async def test_a_region_that_a_table_forgets_is_forgotten(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await popular(client, redis_settings)
    [group] = groups_of("north")
    writer = TableWriter(redis_settings, TRENDS)
    writer.commit({}, [group.to_bytes(8, "little")])
    writer.close()
    until = time.monotonic() + 60
    while (answer := await ask(client, context={"region": "north"}))["cold_start"] != "popular":
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.01)
