"""TLS of the gateway itself: connections that are counted from their first byte on, and certificates that are renewed.

The event loop would show a connection to nobody before its handshake is done: a thousand that never say a word would
have no place that they could give away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from contracts.errors import SettingsError
from contracts.settings import ServedTls
from contracts.tls import load_own, server_context
from gateway.rates import caller_of

log = logging.getLogger("nextclick.gateway")

LOOK_S: Final = 10.0
"""How often the files are looked at."""

_END_S: Final = 2.0
"""How long a client may take to say good-bye."""


class OwnCertificate:
    """What this process shows, from two files. A renewed pair is taken up for connections that come after."""

    def __init__(self, certificate: str, key: str) -> None:
        """Raises ValueError for files that are no pair."""
        self._files = certificate, key
        self._loaded = self._stamps()
        self.context = server_context(certificate, key)

    async def follow(self) -> None:
        """Look at the files for ever, and at nobody's cost: in a thread."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take up files that have changed since. Ones that are no pair, as between two writes, are left and told of."""
        stamps = self._stamps()
        if stamps == self._loaded:
            return
        self._loaded = stamps
        try:
            server_context(*self._files)  # a pair that fails would leave half of itself in a context that serves
            load_own(self.context, *self._files)
        except ValueError as error:
            log.warning("the gateway goes on with the certificate that it has: %s", error)
            return
        log.info("the gateway shows the renewed certificate of %s", self._files[0])

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._files]


def own_certificate(options: ServedTls) -> OwnCertificate | None:
    """Return what the settings name; None without TLS. Raises SettingsError for files that were a pair, and are not."""
    if not options.tls_certificate:
        return None
    try:
        return OwnCertificate(options.tls_certificate, options.tls_key)
    except ValueError as error:
        raise SettingsError(f"NEXTCLICK_GATEWAY__TLS_CERTIFICATE: {error}") from error


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class House(Protocol):
    """What knows all connections of a server (`gateway.connections`)."""

    header_timeout_s: float
    closed: Counter[str]

    def came(self, guest: Handshake) -> None: ...
    def went(self, guest: Handshake) -> None: ...


class Afterwards(Protocol):
    """What has the connection once TLS is spoken. It may be lost before it was told that it was made."""

    lost: bool

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...


class Handshake(asyncio.Protocol):
    """A connection until both sides have agreed on TLS: it has asked nothing yet, and gives way like one that rests."""

    rests = is_slow = True

    def __init__(self, house: House, context: ssl.SSLContext, then: Callable[[], Afterwards]) -> None:
        """`then` makes what has the connection afterwards."""
        self._house, self._context, self._then = house, context, then
        self._task: asyncio.Task[None] | None = None
        self._early = bytearray()
        self.transport: asyncio.Transport | None = None
        self.client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place for it, and begin."""
        self.transport, self.client = cast(asyncio.Transport, transport), caller_of(transport)
        self._house.came(self)
        if self.transport is not None:
            self._task = asyncio.get_running_loop().create_task(self._agree(self.transport))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the task has begun: no event loop can be told to read nothing yet."""
        self._early += data

    def give_way(self, why: str) -> None:
        """End at once."""
        self._house.closed[why] += 1
        self._house.went(self)
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    async def _agree(self, transport: asyncio.Transport) -> None:
        connection, loop, secured = self._then(), asyncio.get_running_loop(), None
        agreeing = loop.create_task(
            loop.start_tls(
                transport,
                cast(asyncio.Protocol, connection),
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._house.header_timeout_s,
                ssl_shutdown_timeout=_END_S,
            )
        )
        try:
            await asyncio.sleep(0)  # it has begun: nothing is read, and its first steps are the next to be done
            loop.call_soon(self._hand_on, transport)
            secured = await agreeing
        except OSError:  # it spoke something else, left, or took too long: nothing for the log
            transport.abort()
        finally:
            self._house.went(self)
        if secured is not None and not connection.lost:
            connection.connection_made(secured)

    def _hand_on(self, transport: asyncio.Transport) -> None:
        """Give what came early to what reads now."""
        reader: Any = transport.get_protocol()  # a BufferedProtocol, of whichever loop
        while self._early and reader is not self:
            buffer = memoryview(reader.get_buffer(len(self._early)))[: len(self._early)]
            buffer[:] = self._early[: len(buffer)]
            del self._early[: len(buffer)]
            reader.buffer_updated(len(buffer))
