"""The short way of a recommendation request asks for keys as the long way does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contracts.settings import RedisSettings
from gateway.key_table import KEYS
from tests.gateway.api_keys import PAGE, make_key, settled
from tests.gateway.test_front import House, opened, request


@pytest.fixture
async def house(redis_settings: RedisSettings) -> AsyncIterator[House]:
    async with opened(redis_settings, keys="required") as found:
        yield found


async def test_both_ways_refuse_and_take_the_same(house: House, redis_settings: RedisSettings) -> None:
    key, other = make_key(redis_settings, "recommend"), make_key(redis_settings, "events", "catalogue", "admin")
    public = make_key(redis_settings, "recommend", origins=[PAGE])
    table = house.app[KEYS]
    await settled(lambda: len(table) == 3)
    caller = await house.caller()
    for lines, status in (
        ((), 401),
        (("Authorization: Bearer x",), 401),
        ((f"Authorization: Basic {key.text}",), 401),
        ((f"Authorization: Bearer {key.text}",), 200),
        ((f"authorization: BEARER  {key.text}",), 200),
        ((f"Authorization: Bearer {other.text}",), 403),
        ((f"Authorization: Bearer {public.text}",), 403),
        ((f"Authorization: Bearer {public.text}", "Origin: https://evil.example"), 403),
        ((f"Authorization: Bearer {public.text}", f"Origin: {PAGE}"), 200),
    ):
        short = await caller.ask(request(b'{"session_id":"s1"}', *lines))
        long = await caller.ask(request(b'{"session_id":"s1"}', *lines, long=True))
        assert short[0] == long[0] == status, lines
        assert short[1].get("www-authenticate") == long[1].get("www-authenticate")
        if status != 200:
            assert {**short[2], "instance": ""} == {**long[2], "instance": ""}
        assert (short[1].get("access-control-allow-origin") == PAGE) is (f"Origin: {PAGE}" in lines)


async def test_a_name_that_was_made_to_lead_here_is_refused_on_both_ways(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings) as house:
        caller = await house.caller()
        for host, status in (("evil.example", 403), ("localhost:8080", 200), ("127.0.0.1", 200)):
            for long in (False, True):
                raw = request(b'{"session_id":"s1"}', long=long).replace(b"Host: shop", f"Host: {host}".encode())
                assert (await caller.ask(raw))[0] == status
