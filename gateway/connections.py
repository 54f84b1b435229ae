"""Connections: how many there may be, and how long one may take to ask. Whoever comes finds a place.

A process has so many descriptors, and needs some for Redis, the log and its files. When places run out, the connection
that has waited longest without asking anything gives way, then one whose body does not come; a client that holds its
share gives way to itself.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from gateway.incidents import new_name
from gateway.keys import SETTINGS
from gateway.problems import Refused, path_of, problem_response

log = logging.getLogger("nextclick.gateway")

RESERVE: Final = 128
"""Descriptors that are no client's."""


class Connection(web.RequestHandler):
    """One connection. What it sends that is no HTTP is answered with a problem, and is nothing for the log."""

    def __init__(self, house: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._house = house
        self._expected: asyncio.TimerHandle | None = None
        self.client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place for it, and expect its first request soon."""
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        super().connection_made(transport)
        self._expected = self._loop.call_later(self._house.header_timeout_s, self._expect_request)
        self._house.came(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._expected is not None:
            self._expected.cancel()
        self._house.went(self)
        super().connection_lost(exc)

    @property
    def waits_since(self) -> float | None:
        """Since when it has asked nothing, in the loop's time; None while something is answered."""
        waiter = self._waiter
        if waiter is None and self._request_count:
            return None
        if waiter is not None and waiter.done():
            return None
        return self._next_keepalive_close_time - self._keepalive_timeout

    @property
    def reads_a_body(self) -> bool:
        """Whether a request is under way whose body has not come."""
        request = self._current_request
        return request is not None and not request.content.is_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read as a request, and close the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun before the error, and cannot become another one")
        if status == HTTPStatus.BAD_REQUEST:
            detail, members = f"expected an HTTP request, got: {' '.join((message or '').split())[:200]}", {}
        else:
            name = new_name()
            log.error("unforeseen error in %s %s, id %s", request.method, path_of(request), name, exc_info=exc)
            detail = f"the gateway met an error that it did not foresee (its log has more under {name})"
            members = {"id": name}
        response = problem_response(Refused(HTTPStatus(status), detail, members=members), instance=request.path)
        response.force_close()
        return response

    def _expect_request(self) -> None:
        if not self._request_count:
            self.force_close()


class Connections:
    """All connections of a server, which makes them by this: a protocol factory."""

    def __init__(self, server: web.Server, app: web.Application) -> None:
        options = app[SETTINGS].gateway
        self._server = server
        self._most = options.max_connections or max(RESERVE, descriptors() - RESERVE)
        self._most_each = options.max_connections_client or max(1, self._most // 2)
        self.header_timeout_s = options.header_timeout_s
        self._all: dict[Connection, None] = {}
        self._by_client: dict[str, dict[Connection, None]] = {}

    def __call__(self) -> Connection:
        server = self._server
        return Connection(self, server, loop=asyncio.get_running_loop(), **server._kwargs)

    def __len__(self) -> int:
        return len(self._all)

    def came(self, connection: Connection) -> None:
        """Take it in; where there is no place, another gives way, or it does itself."""
        own = self._by_client.setdefault(connection.client, {})
        for among, most in ((own, self._most_each), (self._all, self._most)):
            if len(among) >= most:
                other = _gives_way(among)
                if other is None:
                    connection.force_close()
                    return
                self.went(other)
                other.force_close()
        own = self._by_client.setdefault(connection.client, {})  # the last one of them may have given way
        own[connection] = self._all[connection] = None

    def went(self, connection: Connection) -> None:
        """Forget it, if it is still known."""
        self._all.pop(connection, None)
        own = self._by_client.get(connection.client)
        if own is not None:
            own.pop(connection, None)
            if not own:
                del self._by_client[connection.client]


def descriptors() -> int:
    """Return how many descriptors this process may have, after asking for as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems name a limit that they do not give
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft


def _gives_way(among: Iterable[Connection]) -> Connection | None:
    """Return who has waited longest without asking anything; else the oldest whose body does not come."""
    waiting = [(since, at, one) for at, one in enumerate(among) if (since := one.waits_since) is not None]
    if waiting:
        return min(waiting, key=lambda entry: entry[:2])[2]
    return next((one for one in among if one.reads_a_body), None)
