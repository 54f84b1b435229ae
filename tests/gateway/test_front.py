"""The short way of a recommendation request: what it answers is what the long way would, and so are its refusals."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from aiohttp import web

from contracts.observed import LogsOptions, TracingOptions
from contracts.settings import RedisSettings
from gateway.app import create_app
from gateway.connections import Connections
from gateway.draining import DRAINING
from gateway.front import install
from gateway.settings import GatewayOptions, GatewaySettings
from gateway.tables import REPLICAS
from tests.gateway.conftest import LOG, PATIENT

ASKED = b'{"session_id":"s1","limit":3}'


def request(body: bytes = ASKED, *lines: str, placement: str = "homepage", long: bool = False) -> bytes:
    """A request. A question mark makes it go the `long` way, and changes nothing else."""
    path = f"/api/recommendations/{placement}{'?' * long}"
    head = [f"POST {path} HTTP/1.1", "Host: shop", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join((*head, "", "")).encode() + body


class Caller:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, orjson.loads(body)

    async def ask(self, raw: bytes) -> tuple[int, dict[str, str], Any]:
        self.writer.write(raw)
        return await self.answer()

    async def rest(self) -> str:
        return (await self._reader.read()).decode()

    async def is_closed(self) -> bool:
        return await self._reader.read(1) == b""


class House:
    """A gateway that listens."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app, self.port = app, port
        self._callers: list[Caller] = []

    async def caller(self, tls: ssl.SSLContext | None = None) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        self._callers.append(caller)
        return caller

    async def hang_up(self) -> None:
        for caller in self._callers:
            caller.writer.close()
            with suppress(OSError):
                await caller.writer.wait_closed()


@asynccontextmanager
async def opened(
    redis: RedisSettings,
    *,
    tls: ssl.SSLContext | None = None,
    tracing: TracingOptions | None = None,
    logs: LogsOptions | None = None,
    **options: Any,
) -> AsyncIterator[House]:
    settings = GatewaySettings(
        redis=redis,
        log=LOG,
        tracing=tracing or TracingOptions(),
        logs=logs or LogsOptions(),
        gateway=GatewayOptions(**{**PATIENT, **options}),
    )
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    install(runner.server, app)
    server = await asyncio.get_running_loop().create_server(Connections(runner.server, app, tls), "127.0.0.1", 0)
    try:
        async with asyncio.timeout(60):
            while not all(replica.loaded for replica in app[REPLICAS].values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            house = House(app, server.sockets[0].getsockname()[1])
            yield house
            await house.hang_up()
    finally:
        server.close()
        await runner.cleanup()


@pytest.fixture
async def house(redis_settings: RedisSettings) -> AsyncIterator[House]:
    async with opened(redis_settings) as house:
        yield house


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ASKED, 200),
        (b'{"session_id":"s1","limit":5,"context":{"region":"DE","age":30},"explain":true}', 200),
        (b'{"session_id":"s1","limit":"5"}', 200),
        (b'{"session_id":"s1","limit":true}', 422),
        (b'{"session_id":"s1","explain":0}', 422),
        (b'{"session_id":"s1","recent_events":[]}', 200),
        (b"{", 400),
        (b"[1]", 400),
        (b'{"session_id":"s1","limit":0}', 422),
        (b'{"session_id":""}', 422),
        (b'{"session_id":"s1","unknown":1}', 422),
        (b'{"session_id":"s1","context":{"age":-1}}', 422),
        (b'{"session_id":"s1","after":"p1:2\\n"}', 422),
        (b'{"session_id":"s1","after":"p9:2"}', 422),
        (b'{"session_id":"s1","recent_events":[{"v":1}]}', 422),
        (b'{"session_id":"s1","context":{"age":123456789012345678901}}', 422),
        (b'{"session_id":"\\ud800"}', 400),
        (b'{"session_id":"\xff"}', 400),
        (b'{"session_id":' + b"[" * 2000 + b"]" * 2000 + b"}", 400),
    ],
)
async def test_the_short_way_answers_as_the_long_one(house: House, body: bytes, status: int) -> None:
    caller, other = await house.caller(), await house.caller()
    here = await caller.ask(request(body))
    there = await other.ask(request(body, long=True))
    assert here[0] == there[0] == status
    assert set(here[1]) == set(there[1])
    assert here[1]["content-type"] == there[1]["content-type"]
    differ = ("request_id", "timings_us")
    assert {k: v for k, v in here[2].items() if k not in differ} == {
        k: v for k, v in there[2].items() if k not in differ
    }


async def test_a_connection_is_kept_and_asked_again(house: House) -> None:
    caller = await house.caller()
    answers = [await caller.ask(request()) for _ in range(5)]
    assert [status for status, _, _ in answers] == [200] * 5
    assert len({document["request_id"] for _, _, document in answers}) == 5


async def test_requests_that_come_while_one_is_answered_are_answered_in_turn(house: House) -> None:
    caller = await house.caller()
    caller.writer.write(request())
    await asyncio.sleep(0)
    for placement in ("cart", "search"):
        caller.writer.write(request(placement=placement))
        await asyncio.sleep(0.001)
    assert [(await caller.answer())[0] for _ in range(3)] == [200] * 3


async def test_two_requests_in_one_piece_and_one_in_many_pieces_are_answered(house: House) -> None:
    caller = await house.caller()
    caller.writer.write(request() + request(b"{"))
    assert [(await caller.answer())[0] for _ in range(2)] == [200, 400]
    slow = await house.caller()
    for at in range(0, len(request()), 9):
        slow.writer.write(request()[at : at + 9])
        await asyncio.sleep(0.001)
    assert (await slow.answer())[0] == 200


async def test_other_requests_on_the_connection_are_answered_too(house: House) -> None:
    caller = await house.caller()
    assert (await caller.ask(request()))[0] == 200
    assert (await caller.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
    assert (await caller.ask(request()))[0] == 200
    assert (await caller.ask(request(placement="nowhere")))[0] == 404


async def test_a_body_that_is_too_large_is_refused(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, max_body_bytes=2000) as house:
        caller = await house.caller()
        assert (await caller.ask(request(b'{"session_id":"s1","exclude":["' + b"x" * 2000 + b'"]}')))[0] == 413


async def test_a_closing_process_says_that_the_answer_was_the_last(house: House) -> None:
    caller = await house.caller()
    assert "connection" not in (await caller.ask(request()))[1]
    house.app[DRAINING].closing = True
    status, headers, _ = await caller.ask(request())
    assert (status, headers["connection"]) == (200, "close")
    assert await caller.is_closed()


async def test_a_caller_who_reads_late_gets_every_answer(house: House) -> None:
    caller = await house.caller()
    for _ in range(400):
        caller.writer.write(request())
        await asyncio.sleep(0)
    assert [(await caller.answer())[0] for _ in range(400)] == [200] * 400


async def test_a_caller_who_leaves_does_no_harm(house: House) -> None:
    for _ in range(20):
        caller = await house.caller()
        caller.writer.write(request())
        caller.writer.close()
    assert (await (await house.caller()).ask(request()))[0] == 200


async def test_answers_are_counted_and_timed(house: House) -> None:
    caller = await house.caller()
    for body in (ASKED, ASKED, b"{"):
        await caller.ask(request(body))
    other = await house.caller()
    other.writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = await other.rest()
    where = 'endpoint="POST /api/recommendations/{scenario}"'
    assert f'nextclick_gateway_responses_total{{{where},status="200"}} 2.0' in text
    assert f'nextclick_gateway_responses_total{{{where},status="400"}} 1.0' in text
    assert f"nextclick_gateway_request_seconds_count{{{where}}} 3.0" in text


async def test_where_other_origins_may_call_all_requests_go_the_long_way(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, cors_origins=("https://shop.example",)) as house:
        caller = await house.caller()
        _, headers, _ = await caller.ask(request(ASKED, "Origin: https://shop.example"))
        assert headers["access-control-allow-origin"] == "https://shop.example"
