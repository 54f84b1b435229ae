"""What is known of one item: its counts, what it goes with, and which scenarios show it or drop it, by what."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import numpy as np

from contracts.codec import EndedSession, ItemTrend, ShowingBlock
from contracts.ids import item_key
from gateway.insight import LOOKING
from gateway.keys import STATE
from retrieval.ended_sessions import Slot
from tests.gateway.conftest import Client, problem, put_items
from tests.gateway.streams import Streams

HALF_DAY_MS = 12 * 3_600_000


async def insight(client: Client, item_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/items/{item_id}/insight")
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def stocked(client: Client) -> None:
    await put_items(
        client,
        {"item_id": "shoe-1", "title": "Trail shoe", "price": 90.0},
        {"item_id": "shoe-2", "title": "Road shoe", "price": 20.0},
        {"item_id": "sold", "title": "Sold out", "price": 20.0, "stock": 0},
        {"item_id": "18+", "title": "Knife", "price": 20.0, "min_age": 18},
    )


async def scenario(client: Client, name: str, **document: Any) -> None:
    assert (await client.put(f"/api/scenarios/{name}", json=document)).status == 200


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["scenarios"]}


async def test_each_scenario_says_where_it_shows_the_item_or_what_drops_it(client: Client, streams: Streams) -> None:
    await stocked(client)
    await scenario(client, "cheap", base="homepage", filter="stock > -5 and price < 50")
    await scenario(client, "last", base="homepage", bury=["shoe-1"])
    found = by_name(await insight(client, "shoe-1"))
    assert list(found)[:6] == ["homepage", "product", "cart", "search", "email", "push"]
    assert found["homepage"] == {"name": "homepage", "version": 0, "position": 1, "dropped": None, "buried": False} | {
        "position": found["homepage"]["position"]
    }
    assert found["homepage"]["position"] in (1, 2)
    assert (found["cheap"]["position"], found["cheap"]["dropped"]) == (None, "filter: price < 50")
    assert (found["last"]["buried"], found["last"]["dropped"]) == (True, None)
    cheap = by_name(await insight(client, "shoe-2"))["cheap"]
    assert (cheap["position"], cheap["dropped"], cheap["buried"]) == (1, None, False)


async def test_an_item_that_is_sold_out_or_not_for_everybody_is_dropped_by_that_rule(
    client: Client, streams: Streams
) -> None:
    await stocked(client)
    for item_id, rule in (("sold", "out_of_stock"), ("18+", "too_young")):
        found = await insight(client, item_id)
        assert {one["dropped"] for one in found["scenarios"]} == {rule}
        assert {one["position"] for one in found["scenarios"]} == {None}
        assert found["sold_out"] is (item_id == "sold")


async def test_an_item_is_shown_with_its_counts_and_with_what_goes_with_it(client: Client, streams: Streams) -> None:
    await stocked(client)
    assert client.app is not None
    state, now_ms = client.app[STATE], time.time_ns() // 1_000_000
    shoe, other, gone = item_key("shoe-1"), item_key("shoe-2"), item_key("gone")
    pairs = np.array([[4.0, 0.0, 0.0], [8.0, 0.0, 0.0]], np.float32)
    trend = ItemTrend(now_ms, 16.0, 2.0, 12.0, np.array([other, gone], np.uint64), pairs, (5.0, 1.0, 8.0, 2.0))
    state.trends.apply([(shoe, trend)])
    state.trends.apply_showings(
        [(0, ShowingBlock(np.array([shoe], np.uint64), np.array([40], np.float32), np.array([4], np.float32)))]
    )
    taken = EndedSession(now_ms, np.array([shoe, other], np.uint64), 0b11)
    state.ended.apply([(Slot(1), taken), (Slot(2), taken)])
    found = await insight(client, "shoe-1")
    trends = found["trends"]
    assert (round(trends["clicks"], 1), round(trends["views"], 1), trends["shown"], trends["clicked"]) == (
        16,
        12,
        40,
        4,
    )
    assert trends["half_life_ms"] == HALF_DAY_MS
    assert math.isclose(trends["usual"], 16 * math.log(2) / 12, rel_tol=0.01)
    assert trends["origins"] == {"entry": 5, "repeat": 1, "forward": 8, "return": 2}
    assert [(one["item_id"], one["title"], one["share"]) for one in found["covisited"]] == [
        ("shoe-2", "Road shoe", 0.25)
    ]
    assert [(one["item_id"], one["sessions"]) for one in found["together"]] == [("shoe-2", 2)]
    assert (found["item"]["title"], found["has_vector"]) == ("Trail shoe", True)
    assert found["nearest"][0]["item_id"] == "shoe-2"
    assert "shoe-1" not in [one["item_id"] for one in found["nearest"]]
    assert (await insight(client, "18+"))["trends"] is None


async def test_of_many_scenarios_twenty_are_asked_and_the_rest_is_counted(client: Client, streams: Streams) -> None:
    await stocked(client)
    for number in range(16):
        await scenario(client, f"own-{number:02}", base="homepage")
    found = await insight(client, "shoe-1")
    assert ([one["name"] for one in found["scenarios"]][-1], found["left_out"]) == ("own-13", 2)


async def test_nothing_is_logged_or_remembered_of_looking_at_an_item(client: Client, streams: Streams) -> None:
    await stocked(client)
    await insight(client, "shoe-1")
    assert (await (await client.get("/api/sessions")).json())["sessions"] == []


async def test_one_item_is_looked_at_at_a_time_and_an_unknown_one_is_404(client: Client) -> None:
    assert client.app is not None
    answer = await client.get("/api/items/no%2Fitem/insight")
    assert answer.status == 404
    said = await answer.json(content_type="application/problem+json")
    assert said["detail"] == "the catalogue has no item 'no/item'"
    async with client.app[LOOKING]:
        answer = await asyncio.wait_for(client.get("/api/items/x/insight"), 60)
        await problem(answer, 503)
        assert answer.headers["Retry-After"] == "1"
