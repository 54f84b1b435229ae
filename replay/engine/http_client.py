"""HTTP/1.1 to one origin over kept connections: as little work a request as a load generator can get away with.

aiohttp's client spends about seven times the processor time on a request (docs/replay.md has the figures): with it, one
core cannot send what the engine schedules. This one does what a sender needs: no redirects, cookies or compression.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Self, cast

from contracts.addresses import HttpAddress
from contracts.errors import SettingsError
from contracts.masked import masked
from contracts.own_gateway import context_to

LONGEST_HEAD = 65_536
SWEEP_EVERY_S = 0.1
_BODILESS = (204, 304)


class UnreadableAnswer(ConnectionError):
    """The other side did not answer in HTTP/1.1, or closed in the middle of an answer."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One response. `head` is the status line and headers as they came."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, empty without it."""
        return _value(self.head.lower(), name.lower().encode()).decode("latin-1")


class HttpClient:
    """Connections to the origin of `url`, whose path stands in front of every request's. Close after use."""

    def __init__(self, url: str, *, connections: int = 32, attempt_s: float = 10.0, key: str = "") -> None:
        """`attempt_s` bounds connecting, and each request. `key`, if any, is sent with each, as a bearer token.

        Raises SettingsError for what is no http(s) URL.
        """
        self._key = {"Authorization": f"Bearer {key}"} if key else {}
        self._address = HttpAddress.of(url)
        self._tls = context_to(self._address)
        self._limit, self._attempt_s = connections, attempt_s
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting = 0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def head(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the start of a request, to be made once and sent many times. Raises SettingsError for a line break."""
        given = {"Host": self._address.authority, **self._key, **(headers or {})}
        lines = [
            f"{method} {self._address.path}{path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in given.items()),
        ]
        if any("\r" in line or "\n" in line for line in lines):
            raise SettingsError(f"expected a request line and headers without line breaks, got {masked(repr(lines))}")
        return "".join(f"{line}\r\n" for line in lines).encode()

    async def request(self, head: bytes, body: bytes = b"") -> HttpAnswer:
        """Send, and return the answer. Raises OSError when the connection fails, TimeoutError after `attempt_s`.

        A kept connection that the other side closes before it answers is no failure: what was sent is sent once more,
        on a new one.
        """
        wire = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        connection = self._idle.pop() if self._idle else await self._connected()
        try:
            return await connection.exchange(wire)
        except ConnectionError:
            if not connection.was_closed_while_kept:
                raise
        finally:
            self._give_back(connection)
        connection = await self._connected(new=True)
        try:
            return await connection.exchange(wire)
        finally:
            self._give_back(connection)

    async def close(self) -> None:
        """Close all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._open):
            connection.abort(ConnectionAbortedError("the client was closed"))
        await asyncio.sleep(0)

    async def _connected(self, *, new: bool = False) -> _Connection:
        """Wait for a free connection, or open one while there may be more; a `new` one takes a free one's place."""
        while len(self._open) + self._connecting >= self._limit and not self._idle:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._next_turn()
                raise
        if self._idle and not new:
            return self._idle.pop()
        if self._idle and len(self._open) + self._connecting >= self._limit:
            kept = self._idle.pop()
            self._open.discard(kept)
            kept.abort(None)
        self._connecting += 1
        try:
            return await self._connect()
        except BaseException:
            self._next_turn()
            raise
        finally:
            self._connecting -= 1

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_EVERY_S, self._sweep)
        try:
            async with asyncio.timeout(self._attempt_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._lost, self._attempt_s),
                    self._address.host,
                    self._address.port,
                    ssl=self._tls,
                )
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {self._attempt_s:g} s") from error
        self._open.add(connection)
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.abort(None)
        self._next_turn()

    def _next_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._next_turn()

    def _sweep(self) -> None:
        """End requests that take too long; one timer for all, as a timer a request costs more than the request."""
        now = monotonic()
        for connection in [one for one in self._open if one.deadline < now]:
            connection.abort(TimeoutError(f"no answer within {self._attempt_s:g} s"))
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, on_lost: Callable[[_Connection], None], attempt_s: float) -> None:
        self._on_lost, self._attempt_s = on_lost, attempt_s
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._received = b""
        self._answered = 0
        self.deadline = float("inf")
        self.reusable = True
        self.was_closed_while_kept = False
        """Whether the other side ended it after an answer, before a byte of the next."""

    async def exchange(self, wire: bytes) -> HttpAnswer:
        assert self._answer is None
        if self._transport is None:
            self.was_closed_while_kept = True
            raise ConnectionResetError("the connection was closed while it was idle")
        self._answer = asyncio.get_running_loop().create_future()
        self.deadline = monotonic() + self._attempt_s
        self.reusable, self._received = False, b""
        self._transport.write(wire)
        try:
            return await self._answer
        finally:
            self._answer, self.deadline = None, float("inf")

    def abort(self, error: BaseException | None) -> None:
        self.reusable = False
        if error is not None and self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, received: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort(None)  # nobody asked
            return
        self._received = self._received + received if self._received else received
        try:
            parsed = parse_answer(self._received)
        except (ValueError, IndexError):
            self.abort(UnreadableAnswer(f"expected an HTTP/1.1 answer, got {self._received[:60]!r}"))
            return
        if parsed is not None:
            self._finish(*parsed)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self.reusable = None, False
        if self._answer is not None and not self._answer.done():
            self.was_closed_while_kept = bool(self._answered) and not self._received
            self._answer.set_result(ended) if (ended := _until_the_end(self._received)) else self._answer.set_exception(
                error or ConnectionResetError("the connection was closed before an answer")
            )
        self._on_lost(self)

    def _finish(self, answer: HttpAnswer, keeps: bool) -> None:
        assert self._answer is not None
        self.reusable = keeps
        self._answered += 1
        self._answer.set_result(answer)


def parse_answer(received: bytes) -> tuple[HttpAnswer, bool] | None:
    """Return the answer and whether the connection may be used again; None while it is incomplete (RFC 9112).

    Raises ValueError for what is no HTTP/1.x answer.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        if not b"HTTP/1.".startswith(received[:7]) or len(received) > LONGEST_HEAD:
            raise ValueError("no HTTP/1.x head")
        return None
    if not received.startswith(b"HTTP/1."):
        raise ValueError("no HTTP/1.x status line")
    status = int(received[9:12])
    if status < 200:  # an interim answer: the real one follows
        return parse_answer(received[end + 4 :])
    raw, lower = received[: end + 2], received[: end + 2].lower()
    keeps = raw[7:8] == b"1" and b"close" not in _value(lower, b"connection")
    if status in _BODILESS:
        return HttpAnswer(status, raw, b""), keeps
    if b"chunked" in _value(lower, b"transfer-encoding"):
        body = _unchunked(received, end + 4)
        return None if body is None else (HttpAnswer(status, raw, body), keeps)
    length = _value(lower, b"content-length")
    if not length:
        return None  # the end of the connection is the end of the body
    stop = end + 4 + int(length)
    if len(received) < stop:
        return None
    return HttpAnswer(status, raw, received[end + 4 : stop]), keeps and len(received) == stop


def _until_the_end(received: bytes) -> HttpAnswer | None:
    """Return an answer whose body ends with the connection."""
    end = received.find(b"\r\n\r\n")
    lower = received[: end + 2].lower()
    if end < 0 or not received.startswith(b"HTTP/1.") or b"\r\ncontent-length:" in lower or b"chunked" in lower:
        return None
    return HttpAnswer(int(received[9:12]), received[: end + 2], received[end + 4 :])


def _value(lower_head: bytes, name: bytes) -> bytes:
    at = lower_head.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return lower_head[start : lower_head.find(b"\r\n", start)].strip()


def _unchunked(received: bytes, at: int) -> bytes | None:
    parts: list[bytes] = []
    while True:
        line = received.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(received[at:line].partition(b";")[0], 16)
        at = line + 2
        if size == 0:
            return b"".join(parts) if received.find(b"\r\n\r\n", at - 2) >= 0 else None
        if len(received) < at + size + 2:
            return None
        parts.append(received[at : at + size])
        at += size + 2
