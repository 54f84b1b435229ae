"""An answer whose head is put together at once: no table of headers, and one write."""

from __future__ import annotations

from functools import lru_cache
from time import time
from wsgiref.handlers import format_date_time

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from gateway.page_headers import NOSNIFF


class EncodedJson(web.StreamResponse):
    """A JSON body with status 200. What signals and middlewares of aiohttp's would do to its headers is not done."""

    def __init__(self, body: bytes) -> None:
        self._encoded = body
        self._status = 200

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body. Raises ConnectionResetError where nobody listens any more."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        connection = b""
        if not self._keep_alive:
            connection = b"Connection: close\r\n"
        elif request.version != HttpVersion11:
            connection = b"Connection: keep-alive\r\n"
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection was closed before the answer")
        head = b"HTTP/%d.%d 200 OK\r\n" % (request.version.major, request.version.minor)
        length = b"Content-Length: %d\r\n" % len(self._encoded)
        transport.write(b"".join((head, _common(int(time())), length, connection, b"\r\n", self._encoded)))
        self._eof_sent = True
        if transport.get_write_buffer_size():  # a client that reads slowly gets no further answer before it has this
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` wrote it all."""


@lru_cache(maxsize=1)
def _common(second: int) -> bytes:
    """Return the headers that all answers of a second share."""
    names = {**NOSNIFF, "Content-Type": "application/json", "Date": format_date_time(second), "Server": SERVER_SOFTWARE}
    return "".join(f"{name}: {value}\r\n" for name, value in names.items()).encode()
