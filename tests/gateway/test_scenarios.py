"""Scenarios over HTTP: published, versioned, visible everywhere at once, tried before they are published."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientResponse
from hypothesis import given
from hypothesis import strategies as st

from contracts.api_keys import Scope
from contracts.ids import item_key
from contracts.scenarios import Scenario, ScenarioVersion
from contracts.settings import RedisSettings
from gateway.scenarios import Scenarios, decode, encode
from retrieval.item_fields import as_written
from state.exposures import Shown, decode_shown, encode_shown, tired_of
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import Client, Start, problem
from tests.gateway.streams import Streams

SHOES = {
    f"shoe-{n}": {"title": f"Shoe {n}", "category": "shoes", "price": float(10 * n), "brand": f"B{n % 2}"}
    for n in range(1, 9)
}


async def stock_up(client: Client) -> None:
    for item_id, item in SHOES.items():
        assert (await client.put(f"/api/items/{item_id}", json=item)).status == 202


async def publish(client: Client, name: str, document: dict[str, Any]) -> dict[str, Any]:
    answer = await client.put(f"/api/scenarios/{name}", json=document)
    assert answer.status == 200, await answer.text()
    done: dict[str, Any] = await answer.json()
    return done


async def ask(client: Client, name: str, **question: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/recommendations/{name}", json={"session_id": "s", **question})
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


def shown(answer: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in answer["recommendations"]]


def test_a_change_leaves_compiled_what_does_not_stand_on_it() -> None:
    def row(name: str, version: int, **fields: Any) -> tuple[int, bytes]:
        scenario = Scenario.model_validate(fields)
        return item_key(name), encode(ScenarioVersion(name=name, version=version, published_ms=1, scenario=scenario))

    scenarios = Scenarios()
    bases = {"sale": None, "deals": "sale", "late": "deals", "front": "homepage", "other": None}
    scenarios.apply([row(name, 1, **({"base": base} if base else {})) for name, base in bases.items()])

    def recompiled(*rows: tuple[int, bytes | None]) -> list[str]:
        before = {name: scenarios.find(name) for name in bases}
        scenarios.apply(rows)
        return [name for name, one in before.items() if scenarios.find(name) is not one]

    assert recompiled(row("sale", 2, filter="price < 9")) == ["sale", "deals", "late"]
    found = scenarios.find("late")
    assert found is not None
    assert found.scenario.filter == "price < 9"
    assert recompiled(row("homepage", 1, diversity=0.5)) == ["front"]
    assert recompiled((item_key("homepage"), None)) == ["front"]
    assert recompiled(row("late", 2, base="other")) == ["late"]
    assert recompiled(row("deals", 2, base="sale")) == ["deals"]
    assert recompiled(row("other", 2)) == ["late", "other"]
    assert recompiled((item_key("other"), None), row("late", 3)) == ["late", "other"]
    assert recompiled(row("new", 1)) == []


async def test_a_preview_warns_of_pins_that_do_nothing_now(client: Client, streams: Streams) -> None:
    assert (await client.put("/api/items/boot", json={"title": "Boot", "stock": 0})).status == 202
    assert (await client.put("/api/items/shoe", json={"title": "Shoe", "stock": 1})).status == 202
    pins = [{"item_id": "boot", "position": 1}, {"item_id": "shoe", "position": 2, "until": "2020-01-01"}]
    body = {"scenario": {"pins": pins, "bury": ["boot"]}, "request": {"session_id": "s"}}
    answer = await client.post("/api/scenarios/deals/preview", json=body)
    assert (await answer.json())["warnings"] == [
        {
            "pointer": "/pins/0/item_id",
            "detail": "'boot' is sold out: until it is in stock its position is filled as any other",
        },
        {
            "pointer": "/pins/1/until",
            "detail": "it ended at 2020-01-01T00:00:00+00:00: it does nothing any more",
        },
    ]


async def test_a_preview_warns_of_what_will_not_do_what_it_looks_like(client: Client, streams: Streams) -> None:
    await stock_up(client)
    assert (await client.put("/api/items/boot-1", json={"title": "Boot", "category": "Outdoor/Boots"})).status == 202
    document = {
        "filter": 'under(category, "boots")\n or price < 5 and price > 90',
        "boosts": [{"if": 'brand == "b1" or item_id == "x"', "multiply": 2}],
        "pins": [{"item_id": "shoe-1", "position": 1}, {"item_id": "boot-2", "position": 2}],
        "limits": [{"field": "top_category", "share": 0.3}],
        "new_share": 0.75,
        "small_supplier_share": 0.5,
    }
    body = {"scenario": document, "request": {"session_id": "s", "limit": 8}}
    answer = await client.post("/api/scenarios/deals/preview", json=body)
    assert answer.status == 200, await answer.text()
    told = [(one["pointer"], one["detail"]) for one in (await answer.json())["warnings"]]
    never = "`price > 90` is never true together with `price < 5` (line 2, column 5): no item can meet both. "
    assert told == [
        ("/filter", f"line 2, column 19: {never}Take one away, or join them by `or`"),
        (
            "/filter",
            'line 1, column 1: no item in the catalogue has the category "boots": did you mean "Outdoor/Boots"?',
        ),
        ("/boosts/0/if", 'line 1, column 1: no item in the catalogue has the brand "b1": did you mean "B1"?'),
        ("/boosts/0/if", "line 1, column 18: 'x' is not in the catalogue"),
        ("/pins/1/item_id", "'boot-2' is not in the catalogue: its position is filled as any other"),
        (
            "/limits/0",
            "at most 3 of a page of 8 may be alike in top_category, and all that is in the catalogue is of 2 top "
            "categories: no page can be filled within it, so it gives way on every page. Allow 4 of 8 at least, or "
            "limit another field",
        ),
        (
            "/small_supplier_share",
            "new_share 0.75 and small_supplier_share 0.5 are 1.25 of a page: only items that are new and of a small "
            "supplier count for both. Let both be 1 at most",
        ),
    ]
    plain = {"scenario": {"filter": 'brand == "B1"'}, "request": {"session_id": "s"}}
    assert "warnings" not in await (await client.post("/api/scenarios/deals/preview", json=plain)).json()


async def test_a_scenario_is_published_answered_and_taken_away(client: Client, streams: Streams) -> None:
    await stock_up(client)
    assert await publish(client, "deals", {"filter": "price < 30"}) == {"name": "deals", "version": 1, "visible": True}
    answer = await ask(client, "deals")
    assert sorted(shown(answer)) == ["shoe-1", "shoe-2"]
    assert answer["scenario"] == {"name": "deals", "version": 1}
    done = await (await client.delete("/api/scenarios/deals")).json()
    assert done == {"name": "deals", "version": 0, "visible": True}
    refused = await client.post("/api/recommendations/deals", json={"session_id": "s"})
    assert "there is no scenario 'deals'; there are cart, email" in (await problem(refused, 404))["detail"]


async def test_a_placement_can_be_put_over_and_comes_back(client: Client, streams: Streams) -> None:
    await stock_up(client)
    assert (await ask(client, "homepage"))["scenario"] == {"name": "homepage", "version": 0}
    await publish(client, "homepage", {"pins": [{"item_id": "shoe-7", "position": 1}]})
    answer = await ask(client, "homepage")
    assert (shown(answer)[0], answer["scenario"]) == ("shoe-7", {"name": "homepage", "version": 1})
    assert answer["recommendations"][0]["reason"] == "picked for you"
    await client.delete("/api/scenarios/homepage")
    assert (await ask(client, "homepage"))["scenario"] == {"name": "homepage", "version": 0}


async def test_once_a_write_is_answered_no_process_answers_by_an_older_version(start: Start, streams: Streams) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    for version in range(1, 21):
        document = {"filter": f"price == {10 * (version % 8 + 1)}"}
        assert (await publish(one if version % 2 else other, "deals", document))["version"] == version
        for client in (one, other):
            answer = await ask(client, "deals")
            assert (answer["scenario"]["version"], shown(answer)) == (version, [f"shoe-{version % 8 + 1}"])


async def test_versions_are_kept_and_an_older_one_comes_back_as_a_new_one(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "deals", {"filter": "price < 15"})
    await publish(client, "deals", {"filter": "price < 25"})
    back = await client.post("/api/scenarios/deals/rollback", json={"version": 1})
    assert (await back.json())["version"] == 3
    assert shown(await ask(client, "deals")) == ["shoe-1"]
    versions = (await (await client.get("/api/scenarios/deals/versions")).json())["scenarios"]
    assert [(one["version"], one["scenario"]["filter"]) for one in versions] == [
        (3, "price < 15"),
        (2, "price < 25"),
        (1, "price < 15"),
    ]
    await client.delete("/api/scenarios/deals")
    assert (await publish(client, "deals", {}))["version"] == 4
    missing = await client.post("/api/scenarios/deals/rollback", json={"version": 9})
    assert "there is no version 9 of 'deals' any more; there are 1 to 4" in (await problem(missing, 404))["detail"]
    assert (await client.get("/api/scenarios/nothing/versions")).status == 404


async def test_what_is_published_is_listed_beside_the_placements(client: Client, streams: Streams) -> None:
    await publish(client, "deals", {"value": "fashion", "fatigue": {"shown": 5, "within": "P1D"}})
    listed = (await (await client.get("/api/scenarios")).json())["scenarios"]
    assert [(one["name"], one["version"]) for one in listed] == [
        ("cart", 0),
        ("deals", 1),
        ("email", 0),
        ("homepage", 0),
        ("product", 0),
        ("push", 0),
        ("search", 0),
    ]
    one = await (await client.get("/api/scenarios/deals")).json()
    assert one["scenario"] == {"value": "fashion", "fatigue": {"shown": 5, "within": "P1D"}}
    assert (await (await client.get("/api/scenarios/cart")).json())["scenario"] == {}
    assert (await client.get("/api/scenarios/nothing")).status == 404
    assert (await client.get("/api/scenarios/No%20name")).status == 422


async def test_a_draft_answers_without_being_published_or_logged(client: Client, streams: Streams) -> None:
    await stock_up(client)
    draft = {"scenario": {"filter": "price > 65"}, "request": {"session_id": "s", "fields": ["price"]}}
    answer = await (await client.post("/api/scenarios/deals/preview", json=draft)).json()
    assert sorted(shown(answer)) == ["shoe-7", "shoe-8"]
    assert sorted(one["item"]["price"] for one in answer["recommendations"]) == [70.0, 80.0]
    assert (await client.get("/api/scenarios/deals")).status == 404


@given(st.integers(0, 9_999_999))
def test_a_price_compares_as_it_was_written(cents: int) -> None:
    price = cents / 100
    assert as_written(np.array([price], np.float32)).tolist() == [price]


@pytest.mark.parametrize("price", [0.99, 4.95, 9.99, 14.9, 19.99, 29.99, 49.99, 57.38, 99.99])
async def test_a_price_meets_conditions_with_itself(client: Client, streams: Streams, price: float) -> None:
    item = {"title": "Mug", "price": price, "margin": 0.38}
    assert (await (await client.put("/api/items/mug", json=item)).json())["visible"]
    held = [f"price == {price}", f"price <= {price}", f"price >= {price}", f"price in [{price}]", "margin == 0.38"]
    for condition in (*held, *(f"not ({one})" for one in held), f"price < {price}", f"price > {price}"):
        found = await (await client.get("/api/items", params={"filter": condition})).json()
        assert bool(found["items"]) is (condition in held), condition


async def test_a_placement_may_stand_on_what_it_does_of_its_own(client: Client, streams: Streams) -> None:
    assert (await publish(client, "homepage", {"base": "homepage", "diversity": 0.5}))["visible"]
    assert (await publish(client, "deals", {"base": "homepage"}))["visible"]


async def test_a_scenario_that_others_stand_on_stays(client: Client) -> None:
    await publish(client, "sale", {"filter": "price < 50"})
    await publish(client, "deals", {"base": "sale"})
    refused = await problem(await client.delete("/api/scenarios/sale"), 409)
    assert "deals stand on 'sale'" in refused["detail"]


async def test_a_request_brings_a_filter_and_names_fields(client: Client, streams: Streams) -> None:
    await stock_up(client)
    answer = await ask(
        client, "homepage", filter='price >= 70 and brand == "B1"', fields=["title", "price", "attributes.no"]
    )
    assert [(one["item_id"], one["product_id"], one["item"]) for one in answer["recommendations"]] == [
        ("shoe-7", "shoe-7", {"title": "Shoe 7", "price": 70.0})
    ]
    refused = await client.post("/api/recommendations/homepage", json={"session_id": "s", "filter": "price <"})
    [error] = (await problem(refused, 422))["errors"]
    assert error["pointer"] == "/filter"
    assert error["detail"].startswith("line 1, column 8: expected (, -, a field, a function, a number")


async def test_the_link_that_a_feed_brought_is_a_field_of_answers(client: Client, streams: Streams) -> None:
    boot = {"title": "Boot", "stock": 3, "link": "https://shop.example/boot"}
    assert (await client.put("/api/items/boot", json=boot)).status == 202
    answer = await ask(client, "homepage", fields=["title", "link"])
    assert [one["item"] for one in answer["recommendations"]] == [
        {"title": "Boot", "link": "https://shop.example/boot"}
    ]


async def test_a_filter_of_a_request_narrows_that_of_the_scenario(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "deals", {"filter": 'price < 60 and not contains(title, "8")'})
    narrowed = await ask(client, "deals", filter='brand == "B1" and contains(title, item_id) == false')
    assert sorted(shown(narrowed)) == ["shoe-1", "shoe-3", "shoe-5"]
    assert sorted(shown(await ask(client, "deals", filter="not has(attributes.size) and price > 40"))) == ["shoe-5"]
    assert sorted(shown(await ask(client, "deals"))) == [f"shoe-{n}" for n in range(1, 6)]


async def test_explain_tells_what_an_item_is_worth(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "deals", {"value": {"match": 1, "stock": 0.5}})
    answer = await ask(client, "deals", explain=True, candidates=["shoe-1"])
    assert set(answer["explained"][0]) == {"item_id", "terms", "boosts", "value"}
    assert answer["explained"][0]["terms"]["stock"] == {"value": 1.0, "weight": 0.5}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "filter": st.just("price < 5"),
            "value": st.sampled_from(["fashion", {"match": 0.5, "fresh": -1}]),
            "boosts": st.lists(st.just({"if": "true", "multiply": 2.0, "until": "2030-01-01T00:00:00Z"}), max_size=2),
            "pins": st.lists(st.just({"item_id": "a", "position": 3}), max_size=1),
            "limits": st.lists(st.just({"field": "brand", "most": 2}), max_size=2),
            "fatigue": st.just({"shown": 5, "within": "P1D"}),
            "seen": st.sampled_from(["all", "taken", "none"]),
            "fallback": st.lists(st.sampled_from(["trending", "newest"]), max_size=2),
        },
    )
)
def test_a_document_comes_back_as_it_was_given(document: dict[str, Any]) -> None:
    version = ScenarioVersion(name="deals", version=7, published_ms=1, scenario=Scenario.model_validate(document))
    assert decode(encode(version)) == version
    assert encode(decode(encode(version))) == encode(version)


async def test_a_cursor_brings_what_follows_and_nothing_twice(start: Start, streams: Streams) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    found: list[str] = []
    cursor = None
    for turn, expected in enumerate((3, 3, 2)):
        answer = await ask(
            (one, other)[turn % 2], "homepage", limit=3, **({} if cursor is None else {"cursor": cursor})
        )
        assert len(shown(answer)) == expected
        found, cursor = found + shown(answer), answer["cursor"]
    assert cursor is None
    assert sorted(found) == sorted(SHOES)


async def test_a_cursor_that_was_changed_or_is_of_another_list_is_refused(client: Client, streams: Streams) -> None:
    await stock_up(client)
    cursor = (await ask(client, "homepage", limit=3))["cursor"]
    changed = ("B" if cursor[5] != "B" else "C").join([cursor[:5], cursor[6:]])
    for name, session_id, wrong in (
        ("homepage", "s", changed),
        ("homepage", "s", cursor[:-1]),
        ("homepage", "s", "é"),
        ("homepage", "s", ""),
        ("product", "s", cursor),
        ("homepage", "t", cursor),
    ):
        refused = await client.post(f"/api/recommendations/{name}", json={"session_id": session_id, "cursor": wrong})
        assert (await problem(refused, 422))["errors"][0]["pointer"] == "/cursor"
    for more in ({"filter": "price > 1"}, {"item_id": "shoe-1"}):
        refused = await client.post("/api/recommendations/homepage", json={"session_id": "s", "cursor": cursor, **more})
        assert (await problem(refused, 422))["errors"][0]["detail"] == (
            "expected the cursor of an answer to this session, scenario, item_id and filter: "
            "ask without one to begin anew"
        )


async def test_what_was_shown_often_and_not_clicked_makes_room(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await publish(client, "deals", {"fatigue": {"shown": 2, "within": "P1D"}})
    pages = []
    for _ in range(6):
        pages.append(shown(await ask(client, "deals", limit=4)))
        await asyncio.sleep(0.05)  # it is remembered in the background
    assert pages[0] == pages[1]
    assert not set(pages[0]) & set(pages[2])
    assert sorted({*pages[0], *pages[2]}) == sorted(SHOES)
    assert len(pages[5]) == 4  # all were shown too often: they come back
    assert shown(await ask(client, "deals", limit=4, user_id="somebody")) == pages[0]


def test_tiredness_counts_pages_within_the_time_and_spares_what_was_clicked() -> None:
    pages = [Shown(1000, [1, 2]), Shown(2000, [1, 2, 3, 3]), Shown(3000, [1, 3])]
    assert tired_of(pages, shown=2, since_ms=2000, clicked=()) == (1, 3)
    assert tired_of(pages, shown=2, since_ms=1000, clicked={1}) == (2, 3)
    assert decode_shown(encode_shown(pages[0])) == pages[0]
    assert decode_shown(b"abc") is None


async def test_a_key_for_recommendations_opens_no_margins(
    start: Start, streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start(keys="required")
    shop, page = (make_key(redis_settings, scope) for scope in (Scope.CATALOGUE, Scope.RECOMMEND))
    await known(client, shop, page)
    item = {"title": "Shoe", "margin": 0.4, "price": 5}
    assert (await client.put("/api/items/a", json=item, headers=bearer(shop.text))).status == 202
    document = {"value": {"margin": 1}, "filter": "margin > 0.1"}
    done = await client.put("/api/scenarios/deals", json=document, headers=bearer(shop.text))
    assert done.status == 200
    published = await (await client.get("/api/scenarios/deals", headers=bearer(shop.text))).json()
    assert published["by"] is not None

    async def asked(**question: Any) -> ClientResponse:
        sent = {"session_id": "s", "candidates": ["a"], **question}
        return await client.post("/api/recommendations/deals", json=sent, headers=bearer(page.text))

    for wrong in ({"filter": "price > 1 and margin > 0.3"}, {"fields": ["title", "margin"]}):
        assert "expected no margin" in (await problem(await asked(**wrong), 403))["detail"]
    answer = await (await asked(explain=True, fields=["title"])).json()
    assert answer["explained"][0]["terms"]["margin"] == {"weight": 1.0}
    assert answer["recommendations"][0]["item"] == {"title": "Shoe"}
