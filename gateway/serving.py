"""Serving from the first request to the last: the port is opened when answers are there, and closed with none lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

import uvloop
from aiohttp import web

from contracts.loaded import keep_loaded
from gateway.connections import Connections
from gateway.draining import DRAINING
from gateway.front import install
from gateway.keys import RECOMMENDER, SETTINGS
from gateway.listeners import TOGETHER, listening
from gateway.tables import REPLICAS
from gateway.tls import own_certificate

log = logging.getLogger("nextclick.gateway")

LOOK_S = 0.02
BACKLOG = 1024
_COLLECTED = 20_000, 20, 20
"""Objects that were made and are still there before the collector looks at them; Python's own is 700, 10, 10."""
_UVLOOP = "uvloop/"
_UVLOOP_TLS = "uvloop/sslproto.pyx"
LET_GO_S = 0.02
"""The event loop has let go of a listening socket after that."""


def run(app: web.Application, listens: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was taken. Raises what starting the application raises.

    `listens` is called once the port is open.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, listens))


def tell_of_tls(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in a line what broke inside uvloop's TLS: the connection is over, and its stack says nothing to anybody. All
    else that a loop meets is told as it always is.
    """
    error = context.get("exception")
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, Exception) else []
    files = {frame.filename for frame in frames}
    files.discard(ssl.__file__)
    if _UVLOOP_TLS in files and all(name.startswith(_UVLOOP) for name in files):  # its TLS may break in its sockets
        log.warning("a TLS connection broke: %s: %s: %s", context["message"], type(error).__name__, error)
    else:
        loop.default_exception_handler(context)


async def _serve(app: web.Application, listens: Callable[[], None]) -> None:
    options = app[SETTINGS].gateway
    asyncio.get_running_loop().set_exception_handler(tell_of_tls)
    stopping = asyncio.Event()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=options.drain_s)
    await runner.setup()
    assert runner.server is not None
    install(runner.server, app)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        if await _loaded(app, stopping):
            await _listen(app, runner, stopping, listens)
    finally:
        await runner.cleanup()


async def _loaded(app: web.Application, stopping: asyncio.Event) -> bool:
    """Wait until this process can answer; False when it is to stop before.

    After a while it answers all the same, with 503, so that somebody who asks is told why: unless others answer on the
    port, whose requests it would spoil.
    """
    options = app[SETTINGS].gateway
    until = monotonic() + options.listen_within_s
    while not all(replica.loaded for replica in app[REPLICAS].values()):
        if stopping.is_set():
            return False
        if monotonic() >= until and not listening(options.port):
            log.warning("the tables that answers need are not loaded yet: answering 503 until they are")
            return True
        await asyncio.sleep(LOOK_S)
    app[RECOMMENDER].ranking.rehearse()
    _leave_alone()
    return not stopping.is_set()


def _leave_alone() -> None:
    """Have the garbage collector pass over what was loaded, and look at what is new less often: answers make no cycles,
    and thousands of objects that die by themselves.
    """
    keep_loaded()
    gc.set_threshold(*_COLLECTED)


async def _listen(
    app: web.Application, runner: web.AppRunner, stopping: asyncio.Event, listens: Callable[[], None]
) -> None:
    options = app[SETTINGS].gateway
    assert runner.server is not None
    own = own_certificate(options)
    connections = Connections(runner.server, app, own.context if own is not None else None)
    following = asyncio.create_task(own.follow()) if own is not None else None
    server = await asyncio.get_running_loop().create_server(
        connections, options.host, options.port, reuse_port=True, backlog=BACKLOG
    )
    listens()
    while app[TOGETHER].missing() and not stopping.is_set():  # noqa: ASYNC110 - other processes tell nobody
        await asyncio.sleep(LOOK_S)
    await stopping.wait()
    app[DRAINING].leaving = True
    await asyncio.sleep(options.leave_s)
    await _close_port(server, connections)
    app[DRAINING].closing = True
    await _connections_gone(runner.server, options.keepalive_grace_s)
    if following is not None:
        following.cancel()


async def _close_port(server: asyncio.Server, connections: Connections) -> None:
    """Close the listening sockets, and take the connections that wait in them: the kernel would reset those.

    The event loop closes its own descriptors a turn later; copies keep the sockets until their queues are empty.
    """
    kept = [socket.socket(fileno=_copy(one)) for one in server.sockets]
    server.close()
    await asyncio.sleep(LET_GO_S)
    accepted: list[socket.socket] = []
    for one in kept:
        accepted += _accept_all(one)
        one.close()
    for one in accepted:
        await asyncio.get_running_loop().connect_accepted_socket(connections, one)


def _copy(one: socket.socket) -> int:
    return socket.dup(one.fileno())


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    listener.setblocking(False)
    accepted: list[socket.socket] = []
    while True:
        try:
            accepted.append(listener.accept()[0])
        except BlockingIOError:
            return accepted
        except OSError as error:  # one that was reset while it waited, or no descriptors left
            log.warning("a connection that waited was lost: %s", error)
            return accepted


async def _connections_gone(connections: web.Server, grace_s: float) -> None:
    """Wait until clients have sent their next request on each kept connection, and been told that it was the last."""
    until = monotonic() + grace_s
    while connections.connections and monotonic() < until:  # noqa: ASYNC110 - aiohttp tells nobody of its last one
        await asyncio.sleep(LOOK_S)
