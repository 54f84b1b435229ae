"""Whatever a client may send has a bound: what is just within is taken, what is just beyond is refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from contracts.settings import RedisSettings
from tests.gateway.conftest import Client, Start, event, problem
from tests.gateway.test_connections import HEALTH
from tests.gateway.test_front import House, opened, request


@pytest.fixture
async def house(redis_settings: RedisSettings) -> AsyncIterator[House]:
    async with opened(redis_settings) as house:
        yield house


def ids(count: int, length: int = 8) -> list[str]:
    return [f"{number:0{length}}" for number in range(count)]


QUESTIONS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("least limit", {"limit": 1}, {"limit": 0}, "/limit"),
    ("limit", {"limit": 100}, {"limit": 101}, "/limit"),
    ("candidates", {"candidates": ids(1000)}, {"candidates": ids(1001)}, "/candidates"),
    ("a candidate", {"candidates": ids(1, 256)}, {"candidates": ids(1, 257)}, "/candidates/0"),
    ("exclude", {"exclude": ids(1000)}, {"exclude": ids(1001)}, "/exclude"),
    ("an excluded id", {"exclude": ids(1, 256)}, {"exclude": ids(1, 257)}, "/exclude/0"),
    ("session_id", {"session_id": "s" * 256}, {"session_id": "s" * 257}, "/session_id"),
    ("user_id", {"user_id": "u" * 256}, {"user_id": "u" * 257}, "/user_id"),
    ("item_id", {"item_id": "i" * 256}, {"item_id": "i" * 257}, "/item_id"),
    ("after", {"after": "p3:" + "9" * 18}, {"after": "p3:" + "9" * 19}, "/after"),
    ("a context's age", {"context": {"age": 150}}, {"context": {"age": 151}}, "/context/age"),
]


@pytest.mark.parametrize("long", [False, True], ids=["short way", "long way"])
@pytest.mark.parametrize(("within", "beyond", "pointer"), [one[1:] for one in QUESTIONS], ids=[q[0] for q in QUESTIONS])
async def test_a_question_has_bounds_by_both_ways(
    house: House, within: dict[str, Any], beyond: dict[str, Any], pointer: str, long: bool
) -> None:
    caller = await house.caller()
    status, _, document = await caller.ask(request(orjson.dumps({"session_id": "s", **beyond}), long=long))
    assert (status, document["errors"][0]["pointer"]) == (422, pointer)
    if "after" not in within:  # it would wait for a click that is not there
        assert (await caller.ask(request(orjson.dumps({"session_id": "s", **within}), long=long)))[0] == 200


async def test_a_question_takes_100_events_of_its_own(client: Client) -> None:
    async def asked(count: int) -> Any:
        events = [event(f"e-{number}", "s") for number in range(count)]
        return await client.post("/api/recommendations/cart", json={"session_id": "s", "recent_events": events})

    assert (await asked(100)).status == 200
    document = await problem(await asked(101), 422)
    assert document["errors"][0]["pointer"] == "/recent_events"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=200", 200),
        ("limit=201", 422),
        ("limit=0", 422),
        ("ids=" + ",".join(ids(200)), 200),
        ("ids=" + ",".join(ids(201)), 422),
        ("&".join(f"id={one}" for one in ids(201)), 422),
        ("category=" + "c" * 300, 200),
        ("category=" + "c" * 301, 422),
    ],
)
async def test_a_listing_has_bounds(client: Client, query: str, status: int) -> None:
    assert (await client.get(f"/api/items?{query}")).status == status


@pytest.mark.parametrize(("count", "status"), [(1000, 202), (1001, 422)])
async def test_events_and_stock_come_in_thousands(start: Start, count: int, status: int) -> None:
    client = await start(visible_wait_ms=0)
    events = [event(f"e-{number}", "s") for number in range(count)]
    assert (await client.post("/api/events", json=events)).status == status
    stock = [{"item_id": f"i-{number}", "stock": 1} for number in range(count)]
    assert (await client.post("/api/stock", json=stock)).status == status


def head(line: str = "GET /healthz HTTP/1.1", *headers: str) -> bytes:
    return "\r\n".join((line, "Host: x", *headers, "", "")).encode()


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (head("GET /healthz?" + "q" * 8000 + " HTTP/1.1"), head("GET /healthz?" + "q" * 9000 + " HTTP/1.1")),
        (head("GET /healthz HTTP/1.1", "X: " + "v" * 8000), head("GET /healthz HTTP/1.1", "X: " + "v" * 9000)),
        (head("GET /healthz HTTP/1.1", "n" * 4000 + ": v"), head("GET /healthz HTTP/1.1", "n" * 9000 + ": v")),
        (
            head("GET /healthz HTTP/1.1", *(f"X-{number}: v" for number in range(127))),
            head("GET /healthz HTTP/1.1", *(f"X-{number}: v" for number in range(129))),
        ),
    ],
    ids=["request line", "a value", "a name", "headers"],
)
async def test_a_head_has_bounds(house: House, within: bytes, beyond: bytes) -> None:
    caller = await house.caller()
    assert (await caller.ask(within))[0] == 200
    status, headers, _ = await caller.ask(beyond)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert await caller.is_closed()


async def test_the_head_of_a_later_request_must_come_soon_too(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, header_timeout_s=0.3) as house:
        caller, resting = await house.caller(), await house.caller()
        for one in (caller, resting):
            assert (await one.ask(HEALTH))[0] == 200
        await asyncio.sleep(0.4)
        caller.writer.write(HEALTH[:20])
        async with asyncio.timeout(20):
            assert await caller.is_closed()
        assert (await resting.ask(HEALTH))[0] == 200


CHUNKED = (
    b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def test_a_chunk_without_a_length_is_refused_and_one_that_never_begins_is_too_slow(
    redis_settings: RedisSettings,
) -> None:
    async with opened(redis_settings, body_timeout_s=0.2) as house:
        for begun, status in ((b"x" * 20_000, 400), (b"1;" + b"e" * 20_000, 408)):
            caller = await house.caller()
            caller.writer.write(CHUNKED + begun)
            async with asyncio.timeout(20):
                assert (await caller.answer())[0] == status


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_nothing_for_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caller = await house.caller()
    caller.writer.write(CHUNKED + b"1\r\n[\r\n")
    await asyncio.sleep(0.05)
    caller.writer.transport.abort()
    await asyncio.sleep(0.05)
    assert (await (await house.caller()).ask(HEALTH))[0] == 200
    assert caplog.text == ""
