"""The client against raw sockets (what a server may send) and a real server (what it does send)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError
from replay.engine.http_client import HttpClient, UnreadableAnswer, parse_answer
from replay.engine.template import EventsTemplate, TargetTemplate
from replay.engine.template_target import TemplateTarget

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
)


@asynccontextmanager
async def says(*answers: bytes, close: bool = False, pieces: int = 1) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these bytes, an answer a request, in so many pieces; gives its address and what it got."""
    got: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []
    waiting = list(answers)

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while waiting and (head := await reader.readuntil(b"\r\n\r\n")):
            got.append(head)
            answer = waiting.pop(0)
            cut = -(-len(answer) // pieces) or 1
            for at in range(0, len(answer), cut):
                writer.write(answer[at : at + cut])
                await writer.drain()
                await asyncio.sleep(0.005 if pieces > 1 else 0)
            if close:
                break
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("pieces", [1, 3, 40])
@pytest.mark.parametrize(("answer", "body"), [(PLAIN, b"hello"), (CHUNKED, b"hello world")])
async def test_an_answer_is_read_however_it_arrives(answer: bytes, body: bytes, pieces: int) -> None:
    async with says(answer, answer, pieces=pieces) as (url, _), HttpClient(url) as http:
        for _ in range(2):
            got = await http.request(http.head("GET", "/"))
            assert (got.status, got.body) == (200, body)


@given(st.binary(max_size=200), st.data())
def test_a_part_of_an_answer_is_no_answer_yet_and_the_whole_is(body: bytes, data: st.DataObject) -> None:
    whole = b"HTTP/1.1 202 Accepted\r\nX: y\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    assert parse_answer(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None
    parsed = parse_answer(whole)
    assert parsed is not None
    assert (parsed[0].status, parsed[0].body, parsed[0].header("x"), parsed[1]) == (202, body, "y", True)


async def test_interim_answers_are_stepped_over_and_a_204_has_no_body() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with says(early + PLAIN, b"HTTP/1.1 204 No Content\r\n\r\n") as (url, _), HttpClient(url) as http:
        assert (await http.request(http.head("GET", "/"))).body == b"hello"
        assert (await http.request(http.head("GET", "/"))).status == 204


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with says(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True) as (url, _), HttpClient(url) as http:
        assert (await http.request(http.head("GET", "/"))).body == b"until the end"


async def test_a_server_that_closes_after_each_answer_gets_a_new_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with says(answer, answer, close=True) as (url, got), HttpClient(url, connections=1) as http:
        for _ in range(2):
            assert (await http.request(http.head("GET", "/"))).status == 200
    assert len(got) == 2


async def test_a_connection_that_ends_within_an_answer_or_before_it_is_an_error() -> None:
    for cut in (PLAIN[:-2], b""):
        async with says(cut, close=True) as (url, _), HttpClient(url) as http:
            with pytest.raises(ConnectionError):
                await http.request(http.head("GET", "/"))


async def test_what_is_no_http_is_an_error() -> None:
    async with says(b"SSH-2.0-OpenSSH_9.2\r\n") as (url, _), HttpClient(url) as http:
        with pytest.raises(UnreadableAnswer, match=r"SSH-2\.0"):
            await http.request(http.head("GET", "/"))


async def test_an_answer_that_takes_too_long_is_a_timeout_and_the_next_request_works() -> None:
    async def slowly_once(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.sleep(1.0)
        return web.Response(text="x")

    app = web.Application()
    app.router.add_get("/{any}", slowly_once)
    async with TestServer(app) as server, HttpClient(str(server.make_url("")), attempt_s=0.2, connections=1) as http:
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            await http.request(http.head("GET", "/slow"))
        for _ in range(100):  # a busy machine may not answer within 0.2 s
            with suppress(TimeoutError):
                assert (await http.request(http.head("GET", "/fast"))).body == b"x"
                break
        else:
            raise AssertionError("expected one of a hundred requests to be answered in time")


async def test_no_more_connections_are_open_than_allowed_and_everybody_gets_a_turn() -> None:
    under_way, most, three = 0, 0, asyncio.Event()

    async def count(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if most >= 3:
            three.set()
        await three.wait()
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/echo", count)
    async with TestServer(app) as server, HttpClient(str(server.make_url("")), connections=3) as http:
        head = http.head("POST", "/echo")
        bodies = [str(n).encode() for n in range(40)]
        answers = await asyncio.gather(*(http.request(head, body) for body in bodies))
    assert [answer.body for answer in answers] == bodies
    assert most == 3


async def test_a_refused_connection_is_an_error_and_leaves_the_turn_to_others() -> None:
    async with HttpClient("http://127.0.0.1:1", connections=1) as http:
        head = http.head("GET", "/")
        failed = await asyncio.gather(*(http.request(head) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in failed] == [ConnectionRefusedError] * 5


async def test_a_cancelled_request_gives_its_connection_up() -> None:
    async with says(b"", PLAIN) as (url, got), HttpClient(url, connections=1, attempt_s=60) as http:
        asking = asyncio.create_task(http.request(http.head("GET", "/")))
        async with asyncio.timeout(60):
            while not got:  # noqa: ASYNC110 (what has arrived elsewhere)
                await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await http.request(http.head("GET", "/"))).body == b"hello"


async def test_the_path_of_the_url_stands_in_front_and_a_line_break_is_refused() -> None:
    async with says(PLAIN) as (url, got), HttpClient(f"{url}/shop/") as http:
        await http.request(http.head("GET", "/x?y=1", {"X-Key": "z"}))
        assert got[0].startswith(b"GET /shop/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-Key: z\r\n" in got[0]
        with pytest.raises(SettingsError, match="line breaks"):
            http.head("GET", "/", {"X-Key": "z\r\nX-Other: w"})


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected a URL"):
        HttpClient("ftp://nowhere")


@asynccontextmanager
async def closes_kept_connections(answers: int = 1) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers so many requests of a connection and closes it when the next has come, unanswered."""
    got: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in range(answers + 1):
                got.append(await reader.readuntil(b"\r\n\r\n"))
                if number < answers:
                    writer.write(PLAIN)
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.01)


async def test_what_a_closed_kept_connection_swallowed_is_sent_once_more() -> None:
    async with closes_kept_connections() as (url, got), HttpClient(url, connections=1) as http:
        for _ in range(4):
            assert (await http.request(http.head("GET", "/"))).body == b"hello"
    assert len(got) == 4 + 3


async def test_many_at_once_over_kept_connections_that_close_are_all_answered() -> None:
    async with closes_kept_connections() as (url, _), HttpClient(url, connections=3) as http:
        for _ in range(5):
            answers = await asyncio.gather(*(http.request(http.head("GET", "/")) for _ in range(20)))
            assert [one.body for one in answers] == [b"hello"] * 20


async def test_a_new_connection_that_closes_without_an_answer_is_an_error_and_is_not_sent_to_again() -> None:
    async with closes_kept_connections(answers=0) as (url, got), HttpClient(url) as http:
        with pytest.raises(ConnectionError):
            await http.request(http.head("GET", "/"))
        await asyncio.sleep(0.01)
    assert len(got) == 1


async def test_a_kept_connection_that_ends_within_an_answer_is_an_error() -> None:
    async with says(PLAIN, PLAIN[:-2]) as (url, got), HttpClient(url, connections=1) as http:
        await http.request(http.head("GET", "/"))
        with pytest.raises(ConnectionError):
            await http.request(http.head("GET", "/"))
    assert len(got) == 2


async def test_a_closed_kept_connection_is_no_error_of_the_target() -> None:
    async with closes_kept_connections() as (url, _), HttpClient(url, connections=1) as http:
        template = TargetTemplate(events=EventsTemplate(path="/track", body=None))
        outcomes = [await TemplateTarget(http, template).send([{"event_id": "e"}]) for _ in range(5)]
    assert [(one.accepted, one.retries, one.failed.total()) for one in outcomes] == [(1, 0, 0)] * 5


@pytest.mark.parametrize("header", [b"Connection:close", b"connection:  Close", b"Connection: keep-alive, close"])
def test_a_connection_is_not_kept_however_its_end_is_announced(header: bytes) -> None:
    parsed = parse_answer(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length:5\r\n\r\nhello" % header)
    assert parsed is not None
    assert (parsed[0].body, parsed[1]) == (b"hello", False)
