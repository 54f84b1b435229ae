"""Connections that ask slowly, or never, or nothing that is HTTP: others find a place all the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest

from contracts.settings import RedisSettings
from tests.gateway.test_front import Caller, House, opened, request
from tests.gateway.test_main import gateway, send


@pytest.fixture
async def house(redis_settings: RedisSettings) -> AsyncIterator[House]:
    async with opened(redis_settings) as house:
        yield house


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
NO_END = b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n["


async def begun(house: House, count: int, what: bytes) -> list[Caller]:
    """Open connections that send the beginning of something, and nothing more."""
    callers = [await house.caller() for _ in range(count)]
    for caller in callers:
        caller.writer.write(what)
    await asyncio.sleep(0.05)
    return callers


@pytest.mark.parametrize("what", [b"", b"GET /heal", NO_END], ids=["nothing", "half a head", "half a body"])
async def test_slow_connections_keep_nobody_out(redis_settings: RedisSettings, what: bytes) -> None:
    async with opened(redis_settings, max_connections=40, max_connections_client=30) as house:
        slow = await begun(house, 200, what)
        for _ in range(50):
            other = await house.caller()
            assert (await other.ask(HEALTH))[0] == 200
            assert (await other.ask(request()))[0] == 200
        assert len(slow) == 200


async def test_a_new_connection_must_ask_soon_and_a_kept_one_may_rest(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, header_timeout_s=0.2) as house:
        kept = await house.caller()
        assert (await kept.ask(HEALTH))[0] == 200
        (slow,) = await begun(house, 1, b"GET /healthz HTTP/1.1\r\nHos")
        async with asyncio.timeout(20):
            assert await slow.is_closed()
        await asyncio.sleep(0.4)
        assert (await kept.ask(HEALTH))[0] == 200


async def test_a_body_that_stops_is_408_and_the_end_of_its_connection(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, body_timeout_s=0.2) as house:
        (slow,) = await begun(house, 1, NO_END)
        async with asyncio.timeout(20):
            status, _, document = await slow.answer()
            assert (status, document["status"]) == (408, 408)
            assert await slow.is_closed()


@pytest.mark.parametrize(
    "what",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n: nothing\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n[]",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["TLS", "no header name", "long header", "negative length", "two lengths", "long path"],
)
async def test_what_is_no_http_is_a_problem_and_no_traceback(
    house: House, caplog: pytest.LogCaptureFixture, what: bytes
) -> None:
    caller = await house.caller()
    status, headers, document = await caller.ask(what)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert document["detail"].startswith("expected an HTTP request, got: ")
    assert await caller.is_closed()
    assert caplog.text == ""


@pytest.mark.slow
@pytest.mark.parametrize("what", [b"GET /heal", NO_END], ids=["half a head", "half a body"])
def test_a_process_with_few_descriptors_answers_beside_more_slow_connections(
    redis_settings: RedisSettings, what: bytes
) -> None:
    few = ("/bin/sh", "-c", 'ulimit -n 400; exec "$@"', "gateway")
    with gateway(redis_settings, 1, *few) as (running, port), ExitStack() as held:
        for number in range(500):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            slow.sendall(what)
            if number % 10 == 0:
                assert send(port, f"e-{number}") == 202
        assert running.poll() is None
        assert [send(port, f"f-{number}") for number in range(67)] == [202] * 67


async def test_places_are_given_back(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, max_connections=5, max_connections_client=5) as house:
        for _ in range(100):
            caller = await house.caller()
            assert (await caller.ask(HEALTH))[0] == 200
            caller.writer.close()
            with suppress(OSError):
                await caller.writer.wait_closed()
