"""POST /api/pages: the lists of one page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.conftest import Client, problem
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import publish, shown, stock_up


async def page(client: Client, **asked: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/pages", json={"session_id": "s", **asked})
    assert answer.status == 200, await answer.text()
    lists: list[dict[str, Any]] = (await answer.json())["lists"]
    return lists


async def test_lists_are_full_and_share_no_item(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "deals", {"filter": "price < 60"})
    lists = await page(client, lists=[{"scenario": "homepage", "limit": 3}, {"scenario": "deals", "limit": 3}])
    assert [(one["scenario"]["name"], len(shown(one))) for one in lists] == [("homepage", 3), ("deals", 3)]
    assert not set(shown(lists[0])) & set(shown(lists[1]))
    assert len({one["request_id"] for one in lists}) == 2


async def test_a_list_has_what_a_request_has(client: Client, streams: Streams) -> None:
    await stock_up(client)
    first, second = await page(
        client,
        lists=[
            {"scenario": "search", "candidates": ["shoe-2", "shoe-1"], "fields": ["price"]},
            {"scenario": "homepage", "limit": 2, "filter": "price > 60", "exclude": ["shoe-8"], "explain": True},
        ],
    )
    assert sorted(one["item"]["price"] for one in first["recommendations"]) == [10.0, 20.0]
    assert shown(second) == ["shoe-7"]
    follow, _ = await page(
        client, lists=[{"scenario": "homepage", "limit": 3, "cursor": None}, {"scenario": "homepage", "limit": 3}]
    )
    assert follow["cursor"] is not None


@pytest.mark.parametrize(
    ("asked", "status", "pointer"),
    [
        ({"lists": []}, 422, "/lists"),
        ({}, 422, "/lists"),
        ({"lists": [{"scenario": "homepage"}] * 21}, 422, "/lists"),
        ({"lists": [{"scenario": "homepage"}, {"scenario": "homepage", "filter": "pric < 5"}]}, 422, "/lists/1/filter"),
        ({"lists": [{"scenario": "homepage"}, {"scenario": "homepage", "limit": 0}]}, 422, "/lists/1/limit"),
        ({"lists": [{"scenario": "homepage"}], "after": "p9"}, 422, "/after"),
        ({"lists": [{"scenario": "homepage", "cursor": "x"}]}, 422, "/lists/0/cursor"),
        ({"lists": [{"scenario": "nothing"}]}, 404, None),
        ({"lists": [{"scenario": "search", "candidates": [f"i{n}" for n in range(667)]}] * 3}, 422, "/lists"),
    ],
    ids=["none", "missing", "many", "filter", "limit", "after", "cursor", "unknown", "candidates"],
)
async def test_what_is_wrong_with_a_page_is_said_with_its_place(
    client: Client, asked: dict[str, Any], status: int, pointer: str | None
) -> None:
    found = await problem(await client.post("/api/pages", json={"session_id": "s", **asked}), status)
    assert (found.get("errors") or [{"pointer": None}])[0]["pointer"] == pointer
