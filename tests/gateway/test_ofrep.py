"""The OpenFeature protocol: the same variants as recommendations have, and errors in the protocol's words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.conftest import Client, Start
from tests.gateway.test_experiments import put, whole
from tests.gateway.test_scenarios import ask, stock_up

pytestmark = pytest.mark.usefixtures("streams")

FLAGS = "/ofrep/v1/evaluate/flags"
UNITS = 1000
AT_ONCE = 40
THREE = [
    {"name": "control", "share": 0.3},
    {"name": "b", "share": 0.3, "patch": {"bury": ["shoe-1"]}},
    {"name": "c", "share": 0.2, "patch": {"bury": ["shoe-2"]}},
]


async def flag(client: Client, key: str, status: int = 200, **context: Any) -> dict[str, Any]:
    answer = await client.post(f"{FLAGS}/{key}", json={"context": context})
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/json"
    found: dict[str, Any] = await answer.json()
    return found


async def both(client: Client, unit: str, **context: Any) -> tuple[str | None, str | None]:
    """Return the variant that a recommendation and the protocol say."""
    answered = await ask(client, "homepage", session_id=unit, limit=1, context=context)
    return answered["variant"], (await flag(client, "x", targetingKey=unit, **context)).get("variant")


async def test_a_thousand_units_have_the_variants_that_recommendations_have(start: Start) -> None:
    client = await start(max_waiting=10_000)
    await stock_up(client)
    await put(client, "x", whole(variants=THREE, holdout=0.1, overrides={"s7": "c"}))
    pairs: list[tuple[str | None, str | None]] = []
    for first in range(0, UNITS, AT_ONCE):
        pairs += await asyncio.gather(*(both(client, f"s{n}") for n in range(first, first + AT_ONCE)))
    assert all(one == other for one, other in pairs)
    assert {one for one, _ in pairs} == {"control", "b", "c", "holdout", None}


async def test_segments_are_asked_of_the_context_and_of_the_user(start: Start) -> None:
    client = await start()
    await stock_up(client)
    assert (await client.put("/api/users/anna", json={"attributes": {"tier": "gold"}})).status in (200, 202)
    await put(client, "x", whole(segment='context.device == "phone"'))
    for device in ("phone", "desktop"):
        one, other = await both(client, "s1", device=device)
        assert one == other
        assert (one is None) is (device == "desktop")
    await put(client, "x", whole(segment='user.attributes.tier == "gold"', unit="user"))
    assert (await flag(client, "x", targetingKey="anna"))["reason"] == "SPLIT"
    assert (await flag(client, "x", targetingKey="bert"))["reason"] == "DEFAULT"


async def test_reasons_say_why(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", whole(overrides={"tester": "b"}))
    found = await flag(client, "x", targetingKey="tester")
    assert found == {
        "key": "x",
        "value": "b",
        "variant": "b",
        "reason": "TARGETING_MATCH",
        "metadata": {"scenario": "homepage", "version": 1},
    }
    assert (await flag(client, "x", targetingKey="s1"))["reason"] == "SPLIT"
    await put(client, "later", whole(start="2199-01-01", scenario="cart"))
    assert (await flag(client, "later", targetingKey="s1"))["reason"] == "DISABLED"
    assert (await client.post("/api/experiments/x/stop", json={})).status == 200
    found = await flag(client, "x", targetingKey="tester")
    assert (found["reason"], "value" in found) == ("DISABLED", False)


@pytest.mark.parametrize(
    ("context", "code", "said"),
    [
        ({}, "TARGETING_KEY_MISSING", "expected the id of a session or a user as `context.targetingKey`"),
        ({"targetingKey": ""}, "TARGETING_KEY_MISSING", "expected the id"),
        ({"targetingKey": 7}, "INVALID_CONTEXT", "/context/targetingKey: Input should be a valid string"),
        ({"targetingKey": "s", "age": "old"}, "INVALID_CONTEXT", "/context/age: Input should be a valid integer"),
    ],
)
async def test_what_is_wrong_with_a_context_is_said_as_the_protocol_does(
    client: Client, context: dict[str, Any], code: str, said: str
) -> None:
    found = await flag(client, "x", 400, **context)
    assert (found["key"], found["errorCode"]) == ("x", code)
    assert found["errorDetails"].startswith(said)
    answer = await client.post(FLAGS, json={"context": context})
    assert (answer.status, (await answer.json())["errorCode"]) == (400, code)


async def test_a_body_that_is_none_and_a_flag_that_is_not_there(client: Client) -> None:
    for path in (FLAGS, f"{FLAGS}/x"):
        answer = await client.post(path, data=b"{", headers={"Content-Type": "application/json"})
        assert (answer.status, (await answer.json())["errorCode"]) == (400, "PARSE_ERROR")
        answer = await client.post(path, json={"context": 7})
        assert (answer.status, (await answer.json())["errorCode"]) == (400, "INVALID_CONTEXT")
    found = await flag(client, "x", 404, targetingKey="s1")
    assert found == {"key": "x", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "there is no experiment 'x'"}


async def test_all_experiments_are_told_at_once_and_not_again_while_nothing_changes(start: Start) -> None:
    client = await start()
    await stock_up(client)
    await put(client, "x", whole(variants=THREE))
    await put(client, "users", whole(scenario="cart", unit="user"))
    await put(client, "over", whole(scenario="email"))
    assert (await client.post("/api/experiments/over/stop", json={})).status == 200
    body = {"context": {"targetingKey": "s1", "user_id": "anna"}}
    answer = await client.post(FLAGS, json=body)
    flags = (await answer.json())["flags"]
    assert [one["key"] for one in flags] == ["users", "x"]
    assert flags[0] == await flag(client, "users", targetingKey="anna")
    assert flags[1] == await flag(client, "x", targetingKey="s1")
    tag = answer.headers["ETag"]
    again = await client.post(FLAGS, json=body, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    assert (await client.post("/api/experiments/x/stop", json={})).status == 200
    assert (await client.post(FLAGS, json=body, headers={"If-None-Match": tag})).status == 200


async def test_what_another_process_published_is_known_at_once(start: Start) -> None:
    one, other = await start(), await start()
    await stock_up(one)
    await put(one, "x")
    assert (await flag(other, "x", targetingKey="s1"))["reason"] == "SPLIT"
