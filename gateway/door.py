"""The door of a connection: plain recommendation requests are read and answered here, everything else is aiohttp's.

aiohttp reads a request in forty steps of Python (streams, tasks, tables of headers), which cost an idle machine a tenth
of a recommendation. Plain is a whole request in one piece: POST to a placement, HTTP/1.1, a body of JSON with its
length, no header that asks for more. It is refused, counted and timed as in aiohttp's handler. A connection that once
said anything else is aiohttp's for good, so no request is read by both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter, time
from typing import Final, NamedTuple, cast
from wsgiref.handlers import format_date_time

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.web_protocol import RequestHandler

from contracts.api import Placement
from gateway.draining import DRAINING
from gateway.keys import RECOMMENDER, SETTINGS
from gateway.metrics import METRICS
from gateway.problems import problem_of
from gateway.recommendations import question_of
from gateway.wire import encoded

ENDPOINT: Final = "POST /api/recommendations/{placement}"
_HEADERS: Final[Mapping[str, str]] = {"Content-Type": "application/json"}
_PLACEMENTS: Final = {placement.value.encode(): placement for placement in Placement}
_LONGEST_HEAD: Final = 2048
_MOST_HELD: Final = 65_536
"""Bytes kept of what comes while a request is answered, before reading pauses."""
_LINE: Final = rb"[A-Za-z0-9-]+: ?[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\r\n"
_head_of = re.compile(rb"POST /api/recommendations/(\w+) HTTP/1\.1\r\n((?:" + _LINE + rb")+)\r\n").fullmatch
_JSON: Final = b"application/json"
_KEPT: Final = b"keep-alive"
_MOST_DIGITS: Final = 9
_ASK_FOR_MORE: Final = frozenset(
    (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer", b"http2-settings")
)
"""Headers by which a body is read otherwise, or an answer made otherwise. The gateway looks at no others."""


class Plain(NamedTuple):
    """What a plain head says: where, and the length of the body."""

    placement: Placement
    length: int


@lru_cache(maxsize=512)
def plain_head(head: bytes) -> Plain | None:
    """Read a head, with the empty line that ends it; None for one that is not plain. Clients repeat theirs."""
    found = _head_of(head)
    placement = _PLACEMENTS.get(found[1]) if found else None
    if found is None or placement is None:
        return None
    lines = [line.partition(b":") for line in found[2].split(b"\r\n")[:-1]]
    headers = {name.lower(): value.strip() for name, _, value in lines}
    media, connection = headers.get(b"content-type", _JSON), headers.get(b"connection", _KEPT)
    if len(headers) < len(lines) or media != _JSON or connection.lower() != _KEPT or b"host" not in headers:
        return None
    length = headers.get(b"content-length", b"")
    if not _ASK_FOR_MORE.isdisjoint(headers) or not length.isdigit() or len(length) > _MOST_DIGITS:
        return None
    return Plain(placement, int(length)) if int(length) else None


class Doors:
    """Makes the doors of one application's connections, and knows which of them are answering."""

    def __init__(self, app: web.Application, server: web.Server) -> None:
        self.app, self._server = app, server
        options = app[SETTINGS].gateway
        self.longest_body = options.max_body_bytes
        self.answering: set[asyncio.Task[None]] = set()
        self._open = not options.cors_origins

    def __call__(self) -> asyncio.Protocol:
        inner = self._server()
        return Door(self, inner) if self._open else inner

    async def finish(self, timeout_s: float) -> None:
        """Wait for what is being answered, for at most so long."""
        if self.answering:
            await asyncio.wait(self.answering, timeout=timeout_s)

    async def answer(self, placement: Placement, body: bytes) -> tuple[bytes, bool]:
        """Return a whole HTTP answer, and whether it is the connection's last."""
        app, began = self.app, perf_counter()
        status, headers = 200, _HEADERS
        try:
            found = encoded(await app[RECOMMENDER].answer(question_of(placement, body, app)))
        except Exception as error:
            problem = problem_of(error, "POST", f"/api/recommendations/{placement.value}")
            status, headers, found = problem.status, problem.headers, cast(bytes, problem.body)
        last = app[DRAINING].closing
        answer = b"".join((_head(status, int(time()), tuple(headers.items()), last), b"%d\r\n\r\n" % len(found), found))
        app[METRICS].answered(ENDPOINT, status, perf_counter() - began)
        return answer, last


class Door(asyncio.Protocol):
    """One connection. `inner` is aiohttp's protocol of it."""

    def __init__(self, doors: Doors, inner: RequestHandler) -> None:
        self._doors, self._inner = doors, inner
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None
        self._passed_on = False
        self._held = b""
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._passed_on:
            self._inner.data_received(data)
        elif self._answering is not None or self._full:
            self._held += data
            if len(self._held) > _MOST_HELD and self._transport is not None:
                self._transport.pause_reading()
        else:
            self._read(data)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def pause_writing(self) -> None:
        self._full = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        self._inner.resume_writing()
        self._go_on()

    def _read(self, data: bytes) -> None:
        """Answer a plain request, or pass the connection on with all that it said."""
        end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD) + 4
        plain = plain_head(data[:end]) if end > 4 else None
        if plain is None or len(data) != end + plain.length or plain.length > self._doors.longest_body:
            self._passed_on = True
            self._inner.data_received(data)
            return
        self._answering = asyncio.get_running_loop().create_task(self._answer(plain.placement, data[end:]))
        self._doors.answering.add(self._answering)

    async def _answer(self, placement: Placement, body: bytes) -> None:
        try:
            answer, last = await self._doors.answer(placement, body)
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(answer)
                if last:
                    self._transport.close()
        finally:
            if self._answering is not None:
                self._doors.answering.discard(self._answering)
            self._answering = None
        self._go_on()

    def _go_on(self) -> None:
        """Read what came meanwhile, unless the client has not taken its answers yet."""
        if self._answering is None and not self._full and self._transport is not None and self._held:
            held, self._held = self._held, b""
            if not self._transport.is_closing():
                self._transport.resume_reading()
                self._read(held)


@lru_cache(maxsize=16)
def _head(status: int, second: int, headers: tuple[tuple[str, str], ...], last: bool) -> bytes:
    """Return the head of an answer up to the length of its body."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    lines += [f"Date: {format_date_time(second)}", f"Server: {SERVER_SOFTWARE}", *(["Connection: close"] * last)]
    return "\r\n".join((*lines, "Content-Length: ")).encode("latin-1")
