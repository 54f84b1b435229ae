"""Users over HTTP: what a site says of one, and what is never shown to one, on any device."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from contracts.api_keys import Scope
from contracts.keys import Keys
from contracts.settings import RedisSettings, UserOptions
from state.client import connect
from state.users import UserStore
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import Client, Start, problem
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import ask, publish, shown, stock_up

ANNA = {
    "age": 34,
    "region": "eu",
    "gender": "f",
    "style_tags": ["outdoor"],
    "sizes": {"shoes": "42"},
    "wishlist": ["shoe-1"],
    "quiz": {"items": ["shoe-2"], "tags": ["red"]},
    "do_not_show": {"brands": ["B1"]},
    "attributes": {"club": True},
}


async def put(client: Client, document: dict[str, Any], user: str = "anna") -> None:
    answer = await client.put(f"/api/users/{user}", json=document)
    assert (answer.status, await answer.json()) == (200, {"visible": True}), await answer.text()


async def test_a_document_is_put_read_patched_and_forgotten(client: Client) -> None:
    await problem(await client.get("/api/users/anna"), 404)
    await put(client, ANNA)
    assert await (await client.get("/api/users/anna")).json() == ANNA
    patch = {"age": 35, "wishlist": None, "attributes": {"club": None, "since": 2019}}
    assert (await client.patch("/api/users/anna", json=patch)).status == 200
    found = await (await client.get("/api/users/anna")).json()
    assert found == {**{n: v for n, v in ANNA.items() if n != "wishlist"}, "age": 35, "attributes": {"since": 2019}}
    assert (await client.delete("/api/users/anna")).status == 200
    await problem(await client.get("/api/users/anna"), 404)


@pytest.mark.parametrize("user", ["a b", "a/b", "{x}", "ü", "x" * 256, "do-not-show"])
async def test_any_text_names_a_user(client: Client, user: str) -> None:
    path = URL(f"/api/users/{quote(user, safe='')}", encoded=True)
    assert (await client.put(path, json={"age": 3})).status == 200
    assert await (await client.get(path)).json() == {"age": 3}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"age": -1}, "/age: "),
        ({"age": True}, "/age: "),
        ({"colour": "red"}, "/colour: "),
        ({"do_not_show": {"items": "shoe-1"}}, "/do_not_show/items: "),
        ({"do_not_show": {"things": []}}, "/do_not_show/things: "),
        ({"wishlist": ["x"] * 1001}, "/wishlist: "),
        ({"attributes": {"text": "x" * 65_536}}, "expected a user of at most 65,536 bytes, got 65,5"),
    ],
)
async def test_what_is_no_user_is_refused_and_changes_nothing(
    client: Client, document: dict[str, Any], says: str
) -> None:
    await put(client, {"age": 34})
    for answer in (
        await client.put("/api/users/anna", json=document),
        await client.patch("/api/users/anna", json=document),
    ):
        assert says in (await problem(answer, 422))["detail"]
    assert await (await client.get("/api/users/anna")).json() == {"age": 34}


@pytest.mark.parametrize(
    ("hide", "left"),
    [
        ({"item_id": "shoe-3"}, [1, 2, 4, 5, 6, 7, 8]),
        ({"brand": "B1"}, [2, 4, 6, 8]),
        ({"category": "shoes"}, []),
    ],
)
async def test_what_is_hidden_is_shown_on_no_device_until_it_is_undone(
    start: Start, streams: Streams, hide: dict[str, str], left: list[int]
) -> None:
    phone, laptop = await start(), await start()
    await stock_up(phone)
    every = [f"shoe-{n}" for n in range(1, 9)]
    assert sorted(shown(await ask(laptop, "homepage", session_id="l", user_id="anna"))) == every
    answer = await phone.post("/api/users/anna/do-not-show", json=hide)
    assert (answer.status, await answer.json()) == (200, {"visible": True})
    for client, session in ((phone, "p"), (laptop, "l")):
        found = await ask(client, "homepage", session_id=session, user_id="anna", explain=True)
        assert sorted(shown(found)) == [f"shoe-{n}" for n in left]
        assert found["degraded"] == ["general_model"]
        assert sorted(shown(await ask(client, "homepage", session_id=session))) == every
    asked = await ask(phone, "search", user_id="anna", candidates=every, explain=True)
    assert asked["dropped"] == {"do_not_show": 8 - len(left)}
    assert len(asked["dropped_items"]["do_not_show"]) == 8 - len(left)
    await publish(phone, "pinned", {"pins": [{"item_id": "shoe-3", "position": 1}]})
    assert "shoe-3" not in shown(await ask(phone, "pinned", user_id="anna"))
    assert (await laptop.delete("/api/users/anna/do-not-show", json=hide)).status == 200
    assert sorted(shown(await ask(phone, "homepage", session_id="p", user_id="anna"))) == every


async def test_of_devices_that_hide_at_the_same_time_none_undoes_what_another_did(start: Start) -> None:
    phone, laptop = await start(), await start()
    await put(phone, {"age": 34})
    answers = await asyncio.gather(
        *(
            client.post("/api/users/anna/do-not-show", json={"item_id": f"{n}-{name}"})
            for n in range(8)
            for name, client in (("phone", phone), ("laptop", laptop))
        )
    )
    assert {answer.status for answer in answers} == {200}
    found = await (await phone.get("/api/users/anna")).json()
    assert found["age"] == 34
    assert sorted(found["do_not_show"]["items"]) == sorted(
        f"{n}-{name}" for n in range(8) for name in ("phone", "laptop")
    )


async def test_a_put_keeps_what_the_visitor_hid_unless_it_says_otherwise(client: Client) -> None:
    async def stored() -> object:
        return await (await client.get("/api/users/anna")).json()

    await put(client, {"age": 34, "wishlist": ["shoe-1"]})
    assert (await client.post("/api/users/anna/do-not-show", json={"item_id": "shoe-3"})).status == 200
    await put(client, {"age": 35})
    assert await stored() == {"age": 35, "do_not_show": {"items": ["shoe-3"]}}
    await put(client, {"age": 35, "do_not_show": {"brands": ["B1"]}})
    assert await stored() == {"age": 35, "do_not_show": {"brands": ["B1"]}}
    await put(client, {"do_not_show": {}})
    assert (await client.post("/api/users/anna/do-not-show", json={"item_id": "shoe-3"})).status == 200
    await put(client, {"age": 36, "do_not_show": None})
    assert await stored() == {"age": 36}


async def test_a_put_replaces_a_document_that_cannot_be_read(client: Client, redis_settings: RedisSettings) -> None:
    redis = connect(redis_settings)
    await put(client, {"age": 34})
    [key] = [key for key in redis.keys(f"{redis_settings.prefix}:*") if key.endswith(b":anna")]
    for raw in (b"{", b'{"do_not_show": 3}', b'{"do_not_show": {"items": 3}}'):
        redis.set(key, raw)
        await put(client, {"age": 35})
        assert await (await client.get("/api/users/anna")).json() == {"age": 35}
    redis.close()


async def test_a_full_document_says_what_makes_room_for_a_hide(client: Client) -> None:
    await put(client, {"attributes": {"text": "x" * 65_500}})
    refused = await client.post("/api/users/anna/do-not-show", json={"item_id": "shoe-3"})
    assert (await problem(refused, 422))["detail"].endswith("take fields away, or undo what is not to be shown")


async def test_so_much_can_be_hidden_and_no_more(client: Client) -> None:
    await put(client, {"do_not_show": {"items": [f"i{n}" for n in range(1000)], "brands": ["b"] * 200}})
    for hide, says in (
        ({"item_id": "x"}, "expected at most 1,000 items that are not to be shown: undo one first"),
        ({"item_id": "x", "brand": "y"}, "expected one of `item_id`, `brand` and `category`"),
        ({}, "expected one of `item_id`, `brand` and `category`"),
    ):
        refused = await client.post("/api/users/anna/do-not-show", json=hide)
        assert says in (await problem(refused, 422))["detail"]
    assert (await client.post("/api/users/anna/do-not-show", json={"item_id": "i7"})).status == 200  # is hidden already


async def test_age_and_region_of_a_document_count_where_the_request_says_nothing(
    client: Client, streams: Streams
) -> None:
    await stock_up(client)
    assert (await client.patch("/api/items/shoe-1", json={"min_age": 18})).status == 202
    assert (await client.patch("/api/items/shoe-2", json={"regions": ["us"]})).status == 202
    await put(client, {"age": 34, "region": "eu"})
    known_of = await ask(client, "homepage", user_id="anna")
    assert known_of["dropped"] == {}
    assert sorted({"shoe-1", "shoe-2"} & set(shown(known_of))) == ["shoe-1"]
    asked = await ask(client, "homepage", user_id="anna", context={"age": 12, "region": "us"})
    assert sorted({"shoe-1", "shoe-2"} & set(shown(asked))) == ["shoe-2"]


async def test_expressions_read_the_user(client: Client, streams: Streams) -> None:
    await stock_up(client)
    await put(client, {"age": 34, "style_tags": ["outdoor"], "attributes": {"club": "gold"}})
    for text, holds in (
        ("user.age >= 30", True),
        ("user.age >= 40", False),
        ('"outdoor" in user.style_tags', True),
        ('user.attributes.club == "gold"', True),
        ('user.attributes.club == "iron"', False),
    ):
        found = shown(await ask(client, "homepage", user_id="anna", filter=text))
        assert bool(found) == holds, text


async def test_what_a_user_and_an_item_say_is_compared_whatever_it_is(client: Client, streams: Streams) -> None:
    await stock_up(client)
    assert (await client.patch("/api/items/shoe-1", json={"attributes": {"size": 42, "fit": "42"}})).status == 202
    assert (await client.patch("/api/items/shoe-2", json={"attributes": {"size": 40, "fit": "40"}})).status == 202
    await put(client, {"sizes": {"shoes": "42"}, "attributes": {"foot": 42}})
    for text, items in (
        ("attributes.size == user.attributes.foot", ["shoe-1"]),
        ("attributes.size < user.attributes.foot", ["shoe-2"]),
        ("attributes.fit == user.sizes.shoes", ["shoe-1"]),
        ("not attributes.fit == user.sizes.shoes", ["shoe-2"]),
        ("attributes.size == user.sizes.shoes", []),  # a number and a text
        ("not attributes.size == user.sizes.shoes", []),
        ("attributes.size == user.sizes.hats", []),
    ):
        assert sorted(shown(await ask(client, "homepage", user_id="anna", filter=text))) == items, text


async def test_a_document_that_cannot_be_read_is_said_and_can_be_put_again(
    client: Client, streams: Streams, redis_settings: RedisSettings
) -> None:
    await stock_up(client)
    await put(client, ANNA)
    redis = connect(redis_settings)
    [key] = redis.keys(f"{redis_settings.prefix}:*:user:anna")
    for raw in (b"{", b"[]", b'{"do_not_show": 3}', b'{"age": "x"}'):
        redis.set(key, raw)
        answer = await ask(client, "homepage", user_id="anna")
        assert answer["degraded"] == ["profile_unavailable", "general_model"], raw
        assert len(shown(answer)) == 8
    redis.delete(key)
    redis.lpush(key, b"a list")
    assert len(shown(await ask(client, "homepage", user_id="anna"))) == 8
    await put(client, ANNA)
    assert await (await client.get("/api/users/anna")).json() == ANNA
    redis.close()


async def test_a_key_for_recommendations_hides_and_reads_no_document(
    start: Start, redis_settings: RedisSettings
) -> None:
    client = await start(keys="required")
    shop, page = (make_key(redis_settings, scope) for scope in (Scope.CATALOGUE, Scope.RECOMMEND))
    await known(client, shop, page)
    hide = {"item_id": "shoe-1"}
    answer = await client.post("/api/users/anna/do-not-show", json=hide, headers=bearer(page.text))
    assert (answer.status, await answer.json()) == (200, {"visible": True})
    await problem(await client.get("/api/users/anna", headers=bearer(page.text)), 403)
    await problem(await client.put("/api/users/anna", json={}, headers=bearer(page.text)), 403)
    await problem(await client.delete("/api/users/anna", headers=bearer(page.text)), 403)
    spied = {"session_id": "s", "user_id": "anna", "filter": "user.age > 30"}
    refused = await client.post("/api/recommendations/homepage", json=spied, headers=bearer(page.text))
    assert "expected no margin and no field of `user`" in (await problem(refused, 403))["detail"]
    found = await client.get("/api/users/anna", headers=bearer(shop.text))
    assert await found.json() == {"do_not_show": {"items": ["shoe-1"]}}
    assert (await client.delete("/api/users/anna/do-not-show", json=hide, headers=bearer(page.text))).status == 200
    await problem(await client.get("/api/users/anna", headers=bearer(shop.text)), 404)


async def test_documents_are_bounded_in_number_and_bytes(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(users=UserOptions(max_documents=2, max_bytes=100))
    await put(client, {"age": 34}, "anna")
    await put(client, {"age": 35}, "ben")
    await put(client, {"age": 36}, "ben")  # no new one, and no larger
    refused = await problem(await client.put("/api/users/cleo", json={"age": 3}), 507)
    assert refused["detail"] == (
        "users have 2 documents, users.max_documents allows 2: take users away that are gone, or raise it"
    )
    hidden = await client.post("/api/users/dora/do-not-show", json={"item_id": "a"})
    await problem(hidden, 507)
    assert (await client.get("/api/users/cleo")).status == 404
    larger = await problem(await client.put("/api/users/anna", json={"region": "e" * 60, "gender": "f" * 30}), 507)
    assert larger["detail"].startswith("users have 20 bytes of documents, users.max_bytes allows 100")
    assert await (await client.get("/api/users/anna")).json() == {"age": 34}
    assert "nextclick_gateway_users_refused_total 3.0" in await (await client.get("/metrics")).text()
    assert (await client.delete("/api/users/anna")).status == 200
    assert (await client.delete("/api/users/anna")).status == 200
    await put(client, {"age": 3}, "cleo")
    assert UserStore(redis_settings, partitions=4).extent() == (2, 19)


@pytest.mark.parametrize("damage", ["text", "kind"])
async def test_counts_that_are_none_end_nobody(client: Client, redis_settings: RedisSettings, damage: str) -> None:
    with connect(redis_settings) as redis:
        for partition in range(4):
            key = Keys(redis_settings.prefix).users(partition)
            redis.set(key, "x") if damage == "kind" else redis.hset(key, "documents", "many")
    await put(client, {"age": 34})
    assert await (await client.get("/api/users/anna")).json() == {"age": 34}
    assert UserStore(redis_settings, partitions=4).extent() == (1, 10)
