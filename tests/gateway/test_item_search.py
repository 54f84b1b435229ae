"""The catalogue asked by a filter: what it keeps, page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from expressions.program import condition
from gateway import item_search
from rerank.scenarios.fields import FIELDS_OF_ITEMS
from retrieval.catalogue import CatalogueColumns
from tests.gateway.conftest import Client, problem, put_items
from tests.gateway.streams import Streams


async def page(client: Client, wanted: str, more: str = "") -> dict[str, Any]:
    answer = await client.get(f"/api/items?filter={quote(wanted)}{more}")
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def pages(client: Client, wanted: str, limit: int) -> list[list[str]]:
    listed, cursor = [], ""
    while True:
        found = await page(client, wanted, f"&limit={limit}{cursor}")
        listed.append([item["item_id"] for item in found["items"]])
        if "cursor" not in found:
            return listed
        cursor = f"&cursor={found['cursor']}"


async def test_a_filter_keeps_what_it_says_and_pages_hold_each_item_once(client: Client, streams: Streams) -> None:
    shoes = [
        {"item_id": f"s-{n}", "title": f"Shoe {n}", "price": n, "category": "shoes", "attributes": {"size": n}}
        for n in range(10)
    ]
    await put_items(client, *shoes, {"item_id": "free", "title": "No price", "margin": 0.5, "stock": 2})
    cheap = await pages(client, "price < 5", 2)
    assert sorted(one for page in cheap for one in page) == [
        "s-0",
        "s-1",
        "s-2",
        "s-3",
        "s-4",
    ]
    listed = await pages(client, "has(item_id)", 4)
    assert [len(one) for one in listed] == [4, 4, 3]
    assert sorted(one for page in listed for one in page) == sorted(["free", *(f"s-{n}" for n in range(10))])
    assert await pages(client, "attributes.size > 7", 200) == await pages(client, "price > 7 and price < 100", 200)
    assert await pages(client, "clock.month > 12", 5) == [[]]
    with_category = await page(client, "price < 5", "&category=lamps")
    assert with_category == {"items": []}


async def test_an_item_without_a_price_has_none(client: Client, streams: Streams) -> None:
    bare, zero = (
        {"item_id": "bare", "title": "Bare"},
        {"item_id": "zero", "title": "Free", "price": 0, "margin": 0, "stock": 0},
    )
    await put_items(client, bare, zero)

    async def kept(wanted: str) -> list[str]:
        return sorted(item["item_id"] for item in (await page(client, wanted))["items"])

    assert [await kept(f"{name} < 50") for name in ("price", "margin")] == [["zero"], ["zero"]]
    assert [await kept(f"not {name} < 50") for name in ("price", "margin")] == [[], []]
    assert [await kept(f"has({name})") for name in ("price", "margin")] == [["zero"], ["zero"]]
    assert await kept("stock < 50") == ["zero"]
    assert await kept("stock > 0") == ["bare"]  # never runs out
    assert await kept("min_age < 18") == ["bare", "zero"]  # for everybody
    assert await (await client.get("/api/items/bare")).json() == {"item_id": "bare", "title": "Bare", "category": ""}


async def test_what_was_put_and_deleted_between_two_pages_repeats_nothing(client: Client, streams: Streams) -> None:
    await put_items(client, *({"item_id": f"s-{n}", "title": "Shoe"} for n in range(9)))
    first = await page(client, "has(item_id)", "&limit=4")
    seen = [item["item_id"] for item in first["items"]]
    await client.delete(f"/api/items/{seen[-1]}")
    await put_items(client, *({"item_id": f"new-{n}", "title": "Shoe"} for n in range(9)))
    rest = [item["item_id"] for item in (await page(client, "has(item_id)", f"&cursor={first['cursor']}"))["items"]]
    assert not set(seen) & set(rest)
    assert {f"s-{n}" for n in range(9)} <= {*seen, *rest}


@pytest.mark.parametrize(
    ("query", "pointer", "said"),
    [
        ("filter=" + quote("price <"), "/filter", "line 1, column 8"),
        ("filter=" + quote("session.events > 1"), "/filter", "line 1, column 1"),
        ("filter=" + quote('price < "a"'), "/filter", "line 1, column"),
        ("filter=price", "/filter", "expected true or false"),
        ("filter=" + "a" * 1001, "/filter", "1000"),
        ("filter=has(price)&cursor=nonsense", "/cursor", "pattern"),
        ("cursor=" + "0" * 32, "", "the `filter` that `cursor` belongs to"),
        (
            "filter=has(price)&cursor=" + "0" * 32,
            "/cursor",
            "expected the cursor of a page to this `filter` and `category`",
        ),
        ("filter=has(price)&ids=a", "", "got both"),
    ],
)
async def test_what_is_wrong_with_a_filter_is_said(client: Client, query: str, pointer: str, said: str) -> None:
    document = await problem(await client.get(f"/api/items?{query}"), 422)
    assert (document["errors"][0]["pointer"], said in document["errors"][0]["detail"]) == (pointer, True), document


async def test_a_cursor_of_another_filter_or_category_is_refused(client: Client, streams: Streams) -> None:
    await put_items(client, *({"item_id": f"s-{n}", "title": "Shoe", "category": "shoes"} for n in range(9)))
    cursor = (await page(client, "has(item_id)", "&limit=4&category=shoes"))["cursor"]
    more = await page(client, "has(item_id)", f"&limit=9&category=shoes&cursor={cursor}")
    assert len(more["items"]) == 5
    for other in ("filter=has(title)&category=shoes", "filter=has(item_id)", "filter=has(item_id)&category=shoe"):
        refused = await problem(await client.get(f"/api/items?{other}&cursor={cursor}"), 422)
        assert refused["errors"] == [
            {
                "pointer": "/cursor",
                "detail": "expected the cursor of a page to this `filter` and `category`, got one of others: "
                "ask without a cursor to begin anew, or with what its page was asked with",
            }
        ]


def test_a_page_looks_at_a_bounded_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_search, "MOST_LOOKED_AT", 100)
    names = [f"i-{number}" for number in range(1000)]
    columns = CatalogueColumns(dim=0)
    columns.apply(
        (
            ItemKey(item_key(name)),
            CatalogueRow(
                item_id=name, item=Item(title=name, price=float(at)), stock=1, created_ms=0, model_version=0, vector=b""
            ),
        )
        for at, name in enumerate(names)
    )
    wanted = condition("price >= 990", FIELDS_OF_ITEMS)
    listed = columns.alive[: columns.count]
    found, after, asked = [], None, 0
    while True:
        one = item_search.find_page(columns, wanted, listed, after, 20, 0.0)
        found += [columns.item_ids[row] for row in one.rows.tolist()]
        asked += 1
        if one.cursor is None:
            break
        after = one.cursor
    assert sorted(found) == [f"i-{number}" for number in range(990, 1000)]
    assert asked == 10
    assert np.array_equal(np.sort(columns.keys[: columns.count]), np.unique(columns.keys[: columns.count]))
