"""One connection to Redis on which everybody's reads travel: written as they come, answered in their order.

redis-py's pipeline costs an event loop some 300 us a round trip (streams, a lock, a timeout and a task each): more than
everything else that a recommendation reads. This speaks plain RESP to hiredis's reader, with a future for each call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, cast

import hiredis
import redis
from redis.asyncio.connection import SSLConnection, parse_url

from contracts.redis_answers import code_of
from contracts.settings import RedisSettings
from state.raw_answers import RawAnswers, plain_reader, prepared
from state.slots import Address
from state.tls_options import tls_options
from state.wait import Wait

Answers = list[Any]
"""What Redis answered, one a command: bytes, int, None, or the ResponseError that it refused with."""


_ONE: Final[Sequence[Address]] = (("", 0),)
"""The servers that a line to one Redis writes to."""


def open_line(settings: RedisSettings, *, within_s: float | None = None, raw: bool = False) -> RedisLine:
    """Return a line to what the settings name: one Redis, or a cluster. See RedisLine."""
    if settings.is_cluster:
        from state.cluster_line import ClusterLine  # most deployments do without

        return ClusterLine(settings, within_s=within_s, raw=raw)
    return RedisLine(settings, within_s=within_s, raw=raw)


class RedisLine:
    """Calls share a connection, which is made when it is first needed and again when it was lost.

    `within_s` bounds each call, which raises TimeoutError; the connection is given up when nothing at all has come for
    the settings' time limit. A call that meets a connection which died is sent once more on a new one, if `again`: its
    commands must do no harm when they are carried out twice. Raises OSError and redis.RedisError. With `raw`, answers
    that are arrays come as their bytes (`state.raw_answers`).
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        within_s: float | None = None,
        node: Address | None = None,
        raw: bool = False,
        hello: Sequence[tuple[bytes, ...]] = (),
    ) -> None:
        """`node`: the one of a cluster that is asked, in the place of the URL's. `hello`: what a new connection begins
        with, after what the URL says.
        """
        self._raw = raw
        if raw:
            prepared()
        self._settings, self._limit_s = settings, settings.timeout_ms / 1000
        self._within_s = min(within_s or self._limit_s, self._limit_s)
        self._place = settings.place
        self._address: dict[str, Any] = {
            **{"host": "localhost", "port": 6379},
            **tls_options(settings),
            **parse_url(settings.url),
            **({"host": node[0], "port": node[1]} if node else {}),
        }
        self._hello = [*_hello(self._address), *hello]
        self._finds = settings.kind == "sentinel"
        self._wait = Wait(settings.wait_replicas, settings.wait_ms) if settings.wait_replicas else None
        self._made = 0
        self._open: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None

    @property
    def made(self) -> int:
        """Connections, so far."""
        return self._made

    async def call(self, commands: bytes, count: int, *, again: bool = True) -> Answers:
        """Send packed commands (see `packed`) and return their `count` answers."""
        connection = self._open
        if connection is not None and not connection.lost:
            try:
                return self._of_a_primary(await connection.send(commands, count, self._within_s))
            except ConnectionError:
                if not again or not connection.lost:
                    raise
        async with asyncio.timeout(self._within_s):
            connection = await self._connected()
        return self._of_a_primary(await connection.send(commands, count, self._within_s))

    async def open(self) -> None:
        """Have a connection. Raises as `call`."""
        async with asyncio.timeout(self._within_s):
            await self._connected()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._open is not None and not self._open.lost

    async def write(
        self, commands: Sequence[Sequence[Any]], *, waits: bool = True
    ) -> tuple[Answers, Sequence[Address]]:
        """Send commands that write, never a second time; return their answers, and which servers took them (see
        `ask`). With `waits`, where the settings ask for replicas, these have it then; raises NotCopied too.
        """
        sent = b"".join([hiredis.pack_command(tuple(command)) for command in commands])
        if self._wait is None or not waits:
            return await self.call(sent, len(commands), again=False), _ONE
        *answers, copied = await self.call(sent + self._wait.packed(), len(commands) + 1, again=False)
        if (problem := self._wait.problem(copied)) is not None:
            raise problem
        return answers, _ONE

    async def ask(self, asked: Mapping[Address, tuple[bytes, int]]) -> dict[Address, Answers]:
        """Send packed commands, and how many they are, to servers that took a write; return their answers."""
        return {server: await self.call(commands, count, again=False) for server, (commands, count) in asked.items()}

    def send_now(self, commands: bytes, count: int) -> asyncio.Future[Answers] | None:
        """Send at once, where there is a connection; None where there is none."""
        connection = self._open
        with suppress(ConnectionError):
            if connection is not None and not connection.lost:
                return connection.send(commands, count, self._within_s)
        return None

    def _of_a_primary(self, answers: Answers) -> Answers:
        """Give up the connection to one that is a replica by now: the next one asks the Sentinels anew."""
        if self._finds and any(isinstance(one, Exception) and code_of(one) == "READONLY" for one in answers):
            assert self._open is not None
            self._open.abort(ConnectionResetError("the primary is a replica now"))
        return answers

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._open is not None:
            self._open.abort(ConnectionAbortedError("the connection was closed"))

    async def _connected(self) -> _Connection:
        """Wait for the connection; whoever gives up leaves it to the others."""
        if self._opening is None or self._opening.done():
            if self._open is not None and not self._open.lost:
                return self._open
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(_looked_at)
        return await asyncio.shield(self._opening)

    async def _connect(self) -> _Connection:
        async with asyncio.timeout(self._limit_s):
            connection = await self._reached()
            try:
                hello = self._hello
                for answer in await connection.send(packed(*hello), len(hello), self._limit_s) if hello else []:
                    if isinstance(answer, Exception):
                        raise answer
            except BaseException:
                connection.abort(ConnectionAbortedError("the connection could not be prepared"))
                raise
        self._open, self._made = connection, self._made + 1
        return connection

    async def _reached(self) -> _Connection:
        loop, address = asyncio.get_running_loop(), self._address
        if "path" in address:
            return (await loop.create_unix_connection(self._connection, address["path"]))[1]
        if self._finds:
            from state.sentinel import primary_of

            address["host"], address["port"] = await asyncio.to_thread(primary_of, self._settings)
        tls = None
        if address.get("connection_class") is SSLConnection:
            options = {name: value for name, value in address.items() if name != "connection_class"}
            context = SSLConnection(**options).ssl_context
            tls = await asyncio.to_thread(context.get)  # files are read, of which the system's are long; anew each time
        return (await loop.create_connection(self._connection, address["host"], address["port"], ssl=tls))[1]

    def _connection(self) -> _Connection:
        return _Connection(self._limit_s, RawAnswers() if self._raw else plain_reader())


class _Connection(asyncio.Protocol):
    """What was sent and not yet answered, oldest first. One timer for all: a timer a call costs more than the call."""

    def __init__(self, limit_s: float, reader: RawAnswers | hiredis.Reader) -> None:
        self._limit_s = limit_s
        self._waiting: deque[tuple[int, float, asyncio.Future[Answers]]] = deque()
        self._reader = reader
        self._answers: Answers = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = monotonic()
        self.lost = False

    def send(self, commands: bytes, count: int, within_s: float) -> asyncio.Future[Answers]:
        """Send at once; the future resolves with the answers. Raises ConnectionError."""
        if self._transport is None:
            raise ConnectionResetError("the connection was lost")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answers] = loop.create_future()
        now = monotonic()
        if not self._waiting:
            self._heard_at = now
        self._waiting.append((count, now + within_s, future))
        self._transport.write(commands)
        if self._timer is not None and self._timer.when() > loop.time() + within_s:
            self._timer.cancel()  # of a call that might wait longer: the greeting of a connection, say
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_later(within_s, self._look)
        return future

    def abort(self, error: Exception) -> None:
        """Give the connection up; whoever waits is told why."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard_at = monotonic()
        self._reader.feed(data)
        waiting = self._waiting
        try:
            while waiting:
                count, _, future = waiting[0]
                while len(self._answers) < count:
                    answer = self._reader.gets()
                    if answer is False:  # the rest is still to come; a Redis null is None
                        return
                    self._answers.append(answer)
                answers, self._answers = self._answers, []
                waiting.popleft()
                if not future.done():
                    future.set_result(answers)
        except redis.RedisError as error:
            self.abort(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost, self._transport = True, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _, _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error or ConnectionResetError("Redis closed the connection"))

    def _look(self) -> None:
        """End calls that wait too long; their answers are let go when they come."""
        now, self._timer, due = monotonic(), None, None
        for _, deadline, future in self._waiting:
            if deadline > now:
                due = deadline
                break
            if not future.done():
                future.set_exception(TimeoutError("no answer in time"))
        if self._waiting and now - self._heard_at > self._limit_s:
            self.abort(TimeoutError("nothing came for too long"))
            return
        if self._waiting:
            later = (due if due is not None else self._heard_at + self._limit_s) - now
            self._timer = asyncio.get_running_loop().call_later(max(later, 0.001), self._look)


def packed(*commands: Sequence[bytes]) -> bytes:
    """Return commands in Redis's protocol."""
    return b"".join(
        b"*%d\r\n%b" % (len(command), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command))
        for command in commands
    )


def _hello(address: dict[str, Any]) -> list[tuple[bytes, ...]]:
    """Return what a new connection begins with: who we are, and which database."""
    hello: list[tuple[bytes, ...]] = []
    user, password, database = (address.get(name) for name in ("username", "password", "db"))
    if password is not None:
        hello.append((b"AUTH", *([user.encode()] if user else []), password.encode()))
    if database:
        hello.append((b"SELECT", str(database).encode()))
    return hello


def _looked_at(task: asyncio.Task[_Connection]) -> None:
    """Whoever still waits is told; where nobody does, asyncio need not say that nobody looked."""
    if not task.cancelled():
        task.exception()
