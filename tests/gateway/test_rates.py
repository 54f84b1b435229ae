"""Who asks too often is told so, by both ways to a recommendation, and nobody else is."""

from __future__ import annotations

import pytest

from contracts.settings import RedisSettings
from gateway.metrics import METRICS
from gateway.openapi_paths import paths
from gateway.problems import Refused
from gateway.rates import Rate, caller_at
from tests.gateway.test_front import opened, request

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ITEMS = b"GET /api/items HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("long", [False, True], ids=["short way", "long way"])
async def test_who_asks_too_often_is_told_when_to_come_back(redis_settings: RedisSettings, long: bool) -> None:
    async with opened(redis_settings, address_rate=0.01, address_burst=3) as house:
        caller = await house.caller()
        assert [(await caller.ask(request(long=long)))[0] for _ in range(3)] == [200, 200, 200]
        status, headers, document = await caller.ask(request(long=long))
        assert (status, headers["retry-after"], headers["content-type"]) == (429, "100", "application/problem+json")
        assert document["title"] == "Too Many Requests"
        assert document["detail"] == (
            "expected at most 0.01 requests a second of one address, 3 at once: ask less often"
        )


async def test_the_rate_is_of_all_that_an_address_sends(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, address_rate=0.01, address_burst=4) as house:
        first, second = await house.caller(), await house.caller()
        statuses = [(await one.ask(what))[0] for what in (ITEMS, request()) for one in (first, second)]
        assert statuses == [200, 200, 200, 200]
        for what in (ITEMS, request(), request(long=True), b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert (await second.ask(what))[0] == 429


async def test_health_is_told_to_whoever_asked_too_often(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, address_rate=0.01, address_burst=1) as house:
        caller = await house.caller()
        assert [(await caller.ask(what))[0] for what in (ITEMS, ITEMS, HEALTH, HEALTH)] == [200, 429, 200, 200]


async def test_a_refusal_is_counted_by_its_status(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, address_rate=0.01, address_burst=2) as house:
        caller = await house.caller()
        for what in (request(), request(), request()):
            await caller.ask(what)
        counted = house.app[METRICS]
        counted.exposition()
        assert counted.responses["POST /api/recommendations/{scenario}", 429] == 1


async def test_the_document_says_who_may_be_told_so() -> None:
    answers = {path: one["responses"] for path, operations in paths().items() for one in operations.values()}
    assert "429" not in answers["/healthz"].keys() | answers["/readyz"].keys()
    limited = {path for path, one in answers.items() if "429" in one}
    assert limited == answers.keys() - {"/healthz", "/readyz"}
    assert answers["/api/events"]["429"]["headers"].keys() == {"Retry-After"}


async def test_no_rate_is_no_limit(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings) as house:
        caller = await house.caller()
        assert {(await caller.ask(HEALTH))[0] for _ in range(200)} == {200}


async def test_callers_have_a_rate_each_and_only_so_many_are_remembered() -> None:
    rate = Rate("key", per_s=0.001, burst=2, most=3)
    for name in ("a", "b", "c"):
        await rate.take(name)
        await rate.take(name)
    with pytest.raises(Refused, match="of one key, 2 at once"):
        await rate.take("a")
    await rate.take("d")  # the one that asked nothing for longest is forgotten: b, as a has just been refused
    with pytest.raises(Refused):
        await rate.take("a")
    await rate.take("b")


async def test_what_is_set_alone_may_come_twice_as_fast_at_once() -> None:
    rate = Rate("key", per_s=2.5)
    for _ in range(5):
        await rate.take("a")
    with pytest.raises(Refused, match=r"at most 2\.5 requests a second of one key, 5 at once"):
        await rate.take("a")


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_a_customer_is_one_caller_whatever_addresses_it_has(address: str, counts_as: str) -> None:
    assert caller_at(address) == counts_as
