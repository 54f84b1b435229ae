"""Why an item is not in the answer that a session gets now, over HTTP; and every change made, for real."""

from __future__ import annotations

from typing import Any

import pytest

from eventlog.contract import Record
from gateway.keys import APPENDS
from tests.gateway.conftest import Client, problem
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import ask, publish, shown, stock_up


async def why_not(client: Client, name: str, *items: str, **question: Any) -> dict[str, Any]:
    """Return what became of each item."""
    body = {"request": {"session_id": "s", **question}, "items": list(items)}
    answer = await client.post(f"/api/scenarios/{name}/why-not", json=body)
    assert answer.status == 200, await answer.text()
    return {one["item_id"]: one for one in (await answer.json())["items"]}


def says(told: dict[str, Any]) -> list[list[str]]:
    return [[step["says"] for step in change] for change in told["changes"]]


async def test_each_kind_of_reason_is_said_and_its_change_shows_the_item(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "cheap", {"filter": "price < 45", "boosts": [{"if": "price > 1", "multiply": 2}]})
    assert (await client.post("/api/stock", json=[{"item_id": "shoe-2", "stock": 0}])).status in (200, 202)
    page = shown(await ask(client, "cheap", limit=2, exclude=["shoe-3"]))
    told = await why_not(client, "cheap", "shoe-2", "shoe-3", "shoe-7", "boot-1", page[0], limit=2, exclude=["shoe-3"])
    assert {item_id: one["verdict"] for item_id, one in told.items()} == {
        "shoe-2": "no_candidate",
        "shoe-3": "no_candidate",
        "shoe-7": "no_candidate",
        "boot-1": "unknown",
        page[0]: "shown",
    }
    assert told["shoe-2"]["dropped_by"] == ["out_of_stock"]
    assert told["shoe-3"]["dropped_by"] == ["excluded"]
    assert told["shoe-7"]["dropped_by"] == ["filter: price < 45"]
    assert told[page[0]]["position"] == 1


async def test_a_pin_that_is_named_shows_the_item_once_it_is_published(client: Client, streams: Streams) -> None:
    await stock_up(client)
    page = shown(await ask(client, "homepage", limit=2))
    missing = next(item_id for item_id in ("shoe-1", "shoe-7", "shoe-8") if item_id not in page)
    told = await why_not(client, "homepage", missing, limit=2)
    [pin] = [step for change in told[missing]["changes"] for step in change if step["kind"] == "pin"]
    await publish(client, "homepage", {"pins": [pin["value"]]})
    assert missing in shown(await ask(client, "homepage", limit=2))


async def test_asking_why_not_shows_nothing_to_anybody(
    client: Client, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stock_up(client)
    offered: list[Record] = []
    monkeypatch.setattr(client.app[APPENDS].impressions, "offer", offered.append)
    await why_not(client, "homepage", "shoe-1", "shoe-8", limit=3)
    assert not offered
    await ask(client, "homepage", limit=3)
    assert len(offered) == 1


async def test_wrong_questions_are_refused_with_a_pointer(client: Client) -> None:
    for body, pointer in (
        ({"request": {"session_id": "s"}, "items": []}, "/items"),
        ({"request": {"session_id": "s"}, "items": ["a"] * 6}, "/items"),
        ({"request": {"session_id": "s", "limit": 0}, "items": ["a"]}, "/request/limit"),
        ({"items": ["a"]}, "/request"),
    ):
        said = await problem(await client.post("/api/scenarios/homepage/why-not", json=body), 422)
        assert said["errors"][0]["pointer"] == pointer
    said = await problem(
        await client.post("/api/scenarios/nothing/why-not", json={"request": {"session_id": "s"}, "items": ["a"]}), 404
    )
    assert "there is no scenario 'nothing'" in said["detail"]
