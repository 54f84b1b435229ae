"""The door of a connection: what it answers is what aiohttp's handler would; what is not plain is aiohttp's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from aiohttp import web

from contracts.api import Placement
from contracts.settings import RedisSettings
from gateway.app import create_app
from gateway.door import Doors, Plain, plain_head
from gateway.draining import DRAINING
from gateway.settings import GatewayOptions, GatewaySettings
from gateway.tables import REPLICAS
from tests.gateway.conftest import LOG, PATIENT

ASKED = b'{"session_id":"s1","limit":3}'


def request(body: bytes = ASKED, *lines: str, placement: str = "homepage") -> bytes:
    head = [f"POST /api/recommendations/{placement} HTTP/1.1", "Host: shop", *lines, f"Content-Length: {len(body)}"]
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
    """A gateway behind doors."""

    def __init__(self, app: web.Application, doors: Doors, port: int) -> None:
        self.app, self.doors, self._port = app, doors, port
        self._callers: list[Caller] = []

    async def caller(self) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self._port))
        self._callers.append(caller)
        return caller

    async def hang_up(self) -> None:
        for caller in self._callers:
            caller.writer.close()
            with suppress(OSError):
                await caller.writer.wait_closed()


@asynccontextmanager
async def opened(redis: RedisSettings, **options: Any) -> AsyncIterator[House]:
    settings = GatewaySettings(redis=redis, log=LOG, gateway=GatewayOptions(**{**PATIENT, **options}))
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    doors = Doors(app, runner.server)
    server = await asyncio.get_running_loop().create_server(doors, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(60):
            while not all(replica.loaded for replica in app[REPLICAS].values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            house = House(app, doors, server.sockets[0].getsockname()[1])
            yield house
            await house.hang_up()
    finally:
        server.close()
        await runner.cleanup()


@pytest.fixture
async def house(redis_settings: RedisSettings) -> AsyncIterator[House]:
    async with opened(redis_settings) as house:
        yield house


def test_a_plain_head_says_where_and_how_long() -> None:
    assert plain_head(request(b"{}", "Content-Type: application/json")[:-2]) == Plain(Placement.HOMEPAGE, 2)
    assert plain_head(request(b"{}", "User-Agent: shop/1.0 (x)", "Connection: keep-alive", placement="cart")[:-2]) == (
        Placement.CART,
        2,
    )


@pytest.mark.parametrize(
    "line",
    [
        "Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        "Expect: 100-continue",
        "Connection: close",
        "Upgrade: h2c",
        "Content-Type: text/plain",
        "Content-Type: application/json; charset=utf-8",
        "Host: another",
        "Content-Length: 2",
        "Bad header: x",
        "Folded: x\r\n y",
        "Name\u00e9: x",
        "Value: \x01",
        "Empty:",
        "NoColon",
        "X: " + "y" * 4000,
    ],
)
def test_a_head_that_asks_for_more_or_is_odd_is_not_plain(line: str) -> None:
    head = request(b"{}", line)[:-2]
    assert len(head) > 2048 or plain_head(head) is None


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/recommendations/homepage HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/recommendations/homepage?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/recommendations/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n",
        b"POST /api/recommendations/homepage HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nX",
        b"POST /api/recommendations/homepage HTTP/1.1\nHost: x\nContent-Length: 2\n\n",
        b"",
    ],
)
def test_another_request_is_not_plain(head: bytes) -> None:
    assert plain_head(head) is None


LONG_WAY = "Accept-Language: en\r\nTE: trailers"
"""A header that makes a request aiohttp's, and changes nothing else."""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ASKED, 200),
        (b'{"session_id":"s1","limit":5,"context":{"region":"DE","age":30},"explain":true}', 200),
        (b'{"session_id":"s1","limit":"5"}', 200),
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
async def test_the_door_answers_as_aiohttps_handler_does(house: House, body: bytes, status: int) -> None:
    caller, other = await house.caller(), await house.caller()
    here = await caller.ask(request(body))
    there = await other.ask(request(body, *LONG_WAY.split("\r\n")))
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


async def test_what_is_being_answered_is_waited_for(house: House) -> None:
    caller = await house.caller()
    caller.writer.write(request())
    async with asyncio.timeout(10):
        while not house.doors.answering:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await house.doors.finish(10.0)
    assert not house.doors.answering
    assert (await caller.answer())[0] == 200


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
    where = 'endpoint="POST /api/recommendations/{placement}"'
    assert f'nextclick_gateway_responses_total{{{where},status="200"}} 2.0' in text
    assert f'nextclick_gateway_responses_total{{{where},status="400"}} 1.0' in text
    assert f"nextclick_gateway_request_seconds_count{{{where}}} 3.0" in text


async def test_where_other_origins_may_call_all_connections_are_aiohttps(redis_settings: RedisSettings) -> None:
    async with opened(redis_settings, cors_origins=("https://shop.example",)) as house:
        caller = await house.caller()
        _, headers, _ = await caller.ask(request(ASKED, "Origin: https://shop.example"))
        assert headers["access-control-allow-origin"] == "https://shop.example"
