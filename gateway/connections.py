"""Connections: how many there may be, and how long one may take to ask or to read. Whoever comes finds a place.

A process has so many descriptors, and needs some for Redis, the log and its files. When places run out, the connection
that has waited longest without asking anything gives way, then one whose body does not come or whose client does not
read; a client that holds its share gives way to itself. Finding it takes no longer for ten thousand than for ten.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

from aiohttp import web

from gateway.incidents import new_name
from gateway.keys import SETTINGS
from gateway.metrics import METRICS, Metrics
from gateway.problems import Refused, instance_of, path_of, problem_response
from gateway.rates import caller_of
from gateway.tls import Handshake

log = logging.getLogger("nextclick.gateway")

RESERVE: Final = 128
"""Descriptors that are no client's."""

MOST: Final = 8192
"""Connections of a process that no setting bounds: descriptors may be without end, memory is not."""

SLOWEST_BYTES_S: Final = 10_000
"""Whoever reads so many bytes a second is waited for, however long that takes."""

_LOOKS: Final = 64
"""How many connections are looked at to find one that gives way. The first of those that rest nearly always does."""


class Connection(web.RequestHandler):
    """One connection. What it sends that is no HTTP is answered with a problem, and is nothing for the log."""

    def __init__(self, house: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._house = house
        self._expected: asyncio.TimerHandle | None = None
        self._to_be_read: asyncio.TimerHandle | None = None
        self.client = ""
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place for it, and expect its first request soon."""
        self.client = caller_of(transport)
        super().connection_made(transport)
        self._expect_head()
        self._house.came(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; of a head that has begun the rest is expected soon."""
        super().data_received(data)
        if self._expected is None and self.rests:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        for timer in (self._expected, self._to_be_read):
            if timer is not None:
                timer.cancel()
        self.lost = True
        self._house.went(self)
        super().connection_lost(exc)

    async def _handle_request(self, *request: Any) -> tuple[web.StreamResponse, bool]:
        """Answer a request, as aiohttp does, and be known as busy meanwhile."""
        self._house.begins(self)
        try:
            return await super()._handle_request(*request)
        finally:
            self._house.rests(self)

    def pause_writing(self) -> None:
        """Expect the client to read on: no further answer is made for it before it has."""
        super().pause_writing()
        assert self.transport is not None
        patience_s = self._house.answer_timeout_s + self.transport.get_write_buffer_size() / SLOWEST_BYTES_S
        self._to_be_read = self._loop.call_later(patience_s, self.give_way, "slow_reader")

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._to_be_read is not None:
            self._to_be_read.cancel()
            self._to_be_read = None

    @property
    def rests(self) -> bool:
        """Whether it has asked nothing that is not answered."""
        return not self._messages and self._current_request is None

    @property
    def is_slow(self) -> bool:
        """Whether its body does not come, or its answer is not read."""
        request = self._current_request
        return self.writing_paused or (request is not None and not request.content.is_eof())

    def give_way(self, why: str) -> None:
        """End at once, and let go of what the client has not read."""
        self._house.closed[why] += 1
        self._house.went(self)
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

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
        response = problem_response(Refused(HTTPStatus(status), detail, members=members), instance=instance_of(request))
        response.force_close()
        return response

    def _expect_head(self) -> None:
        self._expected = self._loop.call_later(self._house.header_timeout_s, self._has_come, self._request_count)

    def _has_come(self, before: int) -> None:
        self._expected = None
        if self._request_count == before:
            self.give_way("slow_head")


Guest = Connection | Handshake
"""Whoever has a place."""


class Places:
    """Connections among which one gives way when places run out: those of all clients, or of one. Every step takes the
    same time however many there are (a plain dict looks for its first entry among those that went).
    """

    __slots__ = ("_busy", "_most", "_resting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._resting: OrderedDict[Guest, None] = OrderedDict()  # since when: the longest first
        self._busy: OrderedDict[Guest, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._resting) + len(self._busy)

    @property
    def full(self) -> bool:
        return len(self) >= self._most

    def begins(self, connection: Guest) -> None:
        """Note that it asks something."""
        if self._resting.pop(connection, connection) is None:
            self._busy[connection] = None

    def rests(self, connection: Guest) -> None:
        """Note that it has its answer."""
        if self._busy.pop(connection, connection) is None:
            self._resting[connection] = None

    def add(self, connection: Guest) -> None:
        self._resting[connection] = None

    def discard(self, connection: Guest) -> None:
        self._resting.pop(connection, None)
        self._busy.pop(connection, None)

    def one_to_go(self) -> Guest | None:
        """Return who has waited longest without asking anything; else the oldest that is slow. None: all work."""
        looked_at = _first(one for one in islice(self._resting, _LOOKS) if one.rests)
        return looked_at or _first(one for one in islice(self._busy, _LOOKS) if one.is_slow)


def _first(found: Iterable[Guest]) -> Guest | None:
    return next(iter(found), None)


class Connections:
    """All connections of a server, which makes them by this: a protocol factory."""

    def __init__(self, server: web.Server, app: web.Application, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is what they speak, None for none."""
        options = app[SETTINGS].gateway
        self._server, self._tls = server, tls
        most = options.max_connections or places_among(descriptors())
        self._most_each = options.max_connections_client or max(1, most // 2)
        self.header_timeout_s, self.answer_timeout_s = options.header_timeout_s, options.answer_timeout_s
        self._all = Places(most)
        self._by_client: dict[str, Places] = {}
        self.closed: Counter[str] = Counter(dict.fromkeys(("gave_way", "slow_head", "slow_reader"), 0))
        self._watch(app[METRICS])

    def __call__(self) -> Guest:
        return self._connection() if self._tls is None else Handshake(self, self._tls, self._connection)

    def _connection(self) -> Connection:
        server = self._server
        return Connection(self, server, loop=asyncio.get_running_loop(), **server._kwargs)

    def __len__(self) -> int:
        return len(self._all)

    def came(self, connection: Guest) -> None:
        """Take it in; where there is no place, another gives way, or it does itself."""
        for among in (self._by_client.get(connection.client), self._all):
            if among is not None and among.full:
                (among.one_to_go() or connection).give_way("gave_way")
                if connection.transport is None:
                    return
        self._all.add(connection)
        own = self._by_client.get(connection.client)  # the last one of them may have given way
        if own is None:
            own = self._by_client[connection.client] = Places(self._most_each)
        own.add(connection)

    def went(self, connection: Guest) -> None:
        """Forget it, if it is still known."""
        self._all.discard(connection)
        own = self._by_client.get(connection.client)
        if own is not None:
            own.discard(connection)
            if not own:
                del self._by_client[connection.client]

    def begins(self, connection: Guest) -> None:
        """Note that a connection asks something."""
        self._all.begins(connection)
        if (own := self._by_client.get(connection.client)) is not None:
            own.begins(connection)

    def rests(self, connection: Guest) -> None:
        """Note that a connection has its answer."""
        self._all.rests(connection)
        if (own := self._by_client.get(connection.client)) is not None:
            own.rests(connection)

    def _watch(self, metrics: Metrics) -> None:
        metrics.gauge("connections", "Connections that are open.", {}, lambda: float(len(self)))
        for why in self.closed:
            told = "Connections that were closed because they were slow, or others wanted their place."
            metrics.total("connections_closed", told, {"why": why}, partial(self.closed.__getitem__, why))


def places_among(descriptors: int) -> int:
    """Return how many connections a process takes that may have so many descriptors."""
    return min(MOST, max(RESERVE, descriptors - RESERVE))


def descriptors() -> int:
    """Return how many descriptors this process may have, after asking for as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems name a limit that they do not give
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft
