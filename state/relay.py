"""`python -m state.relay`: follows the trends for all gateway processes of a machine, so that Redis tells each change
once a machine.

Gateways that have `relay.socket` read changes of these tables there, in Redis's protocol; all else they ask Redis.
Without a relay they go on by themselves. It holds nothing that anybody needs: it may die at any time.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

import uvloop

from compiled.kernels import prepare
from contracts.errors import SettingsError, StartupError
from contracts.exits import or_exit
from contracts.keys import shard_names
from contracts.logs import log_as
from contracts.observed import serve_metrics
from contracts.outage import SharedOutage
from contracts.settings import RedisSettings, RelayOptions, ServiceSettings
from state.presence import announce
from state.relay_feed import Feed, log
from state.relay_figures import FIGURES, watch
from state.relay_memory import memory_of, remove_left
from state.relay_peer import Peer
from state.relay_words import RELAYED
from state.unix_sockets import listen_unix


class Relay:
    """Feeds of some tables, and a socket. Belongs to an event loop."""

    def __init__(self, settings: RedisSettings, options: RelayOptions, tables: Sequence[str] = RELAYED) -> None:
        self._settings, self._path = settings, options.socket
        self._memory = memory_of(options.socket, options.memory)
        outage = SharedOutage(log, "the tables are not followed now, gateways ask Redis themselves: ")
        names = [name for table in tables for name in shard_names(table, settings.shards(table))]
        self.feeds = [Feed(settings, name, self._memory, outage.part()) for name in names]
        self.peers: set[Peer] = set()

    async def run(self) -> None:
        """Serve until cancelled. Raises StartupError where nobody can listen."""
        try:
            listener = listen_unix(self._path)
        except OSError as error:
            raise StartupError(f"relay.socket: cannot listen at {self._path}: {error}") from error
        remove_left(self._memory)
        by_stream = {feed.stream: feed for feed in self.feeds}
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: Peer(self._settings, by_stream, self.peers), sock=listener)
        try:
            async with asyncio.TaskGroup() as group:
                for feed in self.feeds:
                    group.create_task(feed.run())
        finally:
            server.close()


async def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartupError."""
    relay = Relay(settings.redis, settings.relay)
    watch(relay.feeds, relay.peers)
    serving = asyncio.ensure_future(relay.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("the relay ends")


def settings_of_relay() -> ServiceSettings:
    """Read the settings. Raises SettingsError without a socket."""
    settings = ServiceSettings()
    if not settings.relay.socket:
        raise SettingsError("expected the path of its socket in NEXTCLICK_RELAY__SOCKET, got none")
    return settings


def main() -> None:
    log_as("relay", logging.INFO)
    settings = or_exit(settings_of_relay)
    serve_metrics("relay", settings.metrics, FIGURES)
    announce(settings.redis, "relay")
    prepare()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        or_exit(lambda: runner.run(serve(settings)))


if __name__ == "__main__":
    main()
