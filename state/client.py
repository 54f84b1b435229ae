"""How this room reaches Redis: clients with the settings' time limit, and one error for all that can go wrong.

A call is tried once more at once (a kept connection may have died with a restarted server), and no more: redis-py's own
retries pause for seconds, and whoever called has a better idea of what to do with an outage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.errors import StateUnavailable
from contracts.redis_answers import advice, is_other_kind
from contracts.settings import RedisSettings
from state.tls_options import tls_options


class _Packer:
    """Packs commands. redis-py's own looks at each argument in Python: half of what a commit of many rows costs."""

    def pack(self, *args: Any) -> list[bytes]:
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        try:
            return [hiredis.pack_command((*name.split(), *args[1:]))]  # a name may be two words
        except TypeError as error:
            raise redis.DataError(str(error)) from error


class ConnectionLost(redis.ConnectionError):
    """A connection was lost, though another one may be had at once."""


class Connections:
    """How many connections a client has made.

    A Redis that died with its machine comes back without its last writes, and does not say so. No connection outlives
    it. A reader that finds another number must therefore read again.

    With `tells`, the loss of a connection is an error once, though a new one may be had at once.
    """

    def __init__(self, *, tells: bool = False) -> None:
        self.made, self.tells = 0, tells
        self._is_told = True

    def count(self, anew: bool = True) -> None:
        """A connection is made. Raises ConnectionLost for one that takes the place of another; one that is not
        `anew` does not: it is the first to another node of a cluster.
        """
        if not anew and self.made:
            return
        if self.tells and not self._is_told:
            self._is_told = True
            raise ConnectionLost("the connection was lost, and with it perhaps what was written last")
        self.made, self._is_told = self.made + 1, False


def greet(connects: Callable[[], None], connection: Any) -> None:
    """Prepare a connection of redis-py that was just made (its `redis_connect_func`); `connects` is called first."""
    connects()
    connection.on_connect()


def connect(settings: RedisSettings, connections: Connections | None = None) -> Any:
    """Return a blocking client, connecting on first use; `connections` counts its connections. Untyped: redis-py types
    answers as unions of protocols.
    """
    return open_client(
        settings,
        connects=None if connections is None else connections.count,
        retries=0 if connections is not None and connections.tells else 1,
        socket_timeout=settings.timeout_ms / 1000,
        command_packer=_Packer(),
    )


def open_client(
    settings: RedisSettings, *, connects: Callable[..., None] | None = None, retries: int, **options: Any
) -> Any:
    """Return a blocking client of the kind that the settings name, connecting on first use, with redis-py's `options`.

    `connects` is called for each connection; of a cluster, with whether it may take the place of one that was lost.
    """
    options |= {"retry": Retry(NoBackoff(), 0 if settings.is_cluster else retries), **tls_options(settings)}
    if settings.is_cluster:
        from state.cluster_client import ClusterClient  # most deployments do without

        return ClusterClient(settings, options, connects=connects, retries=retries)
    if connects is not None:
        options["redis_connect_func"] = partial(greet, connects)
    if settings.kind == "sentinel":
        from state.sentinel import primary_options

        options |= primary_options(settings)
    if settings.wait_replicas:
        from state.waiting import WaitingRedis, wait_of

        client: Any = WaitingRedis.from_url(settings.url, **options)
        client.waits_for = wait_of(settings)
        return client
    return redis.Redis.from_url(settings.url, **options)


def is_cluster(client: Any) -> bool:
    """Tell whether a client's keys lie in slots of several servers."""
    return hasattr(client, "primaries")


def servers_of(client: Any) -> list[Any]:
    """Return a client for each server that takes writes: of a cluster its primaries, else the client itself."""
    return list(client.primaries()) if is_cluster(client) else [client]


@contextmanager
def redis_errors_translated(settings: RedisSettings) -> Iterator[None]:
    """Turn whatever keeps Redis from doing what it was asked into StateUnavailable: it cannot be reached, or refuses
    (OOM, MISCONF, READONLY, LOADING ...)."""
    try:
        yield
    except redis.DataError:  # ours: no waiting mends it
        raise
    except (redis.RedisError, OSError) as error:
        raise StateUnavailable(
            f"expected an answer from Redis at {settings.place} within {settings.timeout_ms} ms, "
            f"got {type(error).__name__}: {error}; {advice(error, tls=settings.is_tls)}"
        ) from error


def answered(settings: RedisSettings, ask: Callable[[], Any]) -> Any:
    """Return what Redis answers about a key of ours; None where that holds another kind of thing, and so nothing of
    ours. Raises StateUnavailable.
    """
    with redis_errors_translated(settings):
        try:
            return ask()
        except redis.ResponseError as error:
            if is_other_kind(error):
                return None
            raise
