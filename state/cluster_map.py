"""Which node of a Redis Cluster has which slot: one table a process, read from the cluster when it is first needed and
whenever a node says that it has changed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from contracts.settings import RedisSettings
from state.slots import Address, owners_in
from state.tls_options import tls_options

AGAIN_S: Final = 0.1
"""The table is not read more often than this, whoever asks."""
_CHOOSE: Final = random.Random()


class ClusterMap:
    """For any thread. `version` counts how often the table was another."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._owners: list[Address | None] = []
        self._primaries: list[Address] = []
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self.version = 0
        self.is_doubted = True
        """Whether a node said that the table has changed, or could not be reached, since it was read."""

    @property
    def owners(self) -> Sequence[Address | None]:
        """Each slot's primary; empty before the table is read. It is replaced, never changed."""
        return self._owners

    def owner(self, slot: int) -> Address:
        """Return the primary of a slot; of a slot that has none, any, which will say so. Raises redis.RedisError."""
        if not self._owners:
            self.read()
        return self._owners[slot] or self._primaries[0]

    def primaries(self) -> Sequence[Address]:
        """Return all primaries that have slots, in an order that stays. Raises redis.RedisError."""
        if not self._primaries:
            self.read()
        return self._primaries

    def moved(self, slot: int, to: Address) -> None:
        """Note what a node said of a slot; the whole table is read soon."""
        with self._lock:
            if self._owners and self._owners[slot] != to:
                owners = list(self._owners)
                owners[slot] = to
                self._take(owners)
            self.is_doubted = True

    def doubt(self) -> None:
        """Say that a node could not be reached: another may have taken its place."""
        self.is_doubted = True

    def is_due(self) -> bool:
        """Tell whether the table is to be read again, and may be."""
        return self.is_doubted and time.monotonic() - self._read_at >= AGAIN_S

    def read(self) -> None:
        """Read the table, from whichever node answers first. Raises redis.ConnectionError where none does; a table that
        was read before stays then.
        """
        with self._lock:
            if self._owners and not self.is_due():
                return  # another thread has just done it
            self._read_at = time.monotonic()
            known = [one for one in self._primaries if one not in self._settings.seeds]
            _CHOOSE.shuffle(known)
            error: Exception | None = None
            for node in (*known, *self._settings.seeds):
                try:
                    owners = owners_in(self._asked(node), node)
                except (redis.RedisError, OSError) as found:
                    error = found
                    continue
                if any(owners):
                    self.is_doubted = False
                    self._take(owners)
                    return
                error = redis.ConnectionError(f"{node[0]}:{node[1]} has joined no cluster, or knows of no slots")
            raise redis.ConnectionError(f"no node of the cluster tells which has which slot: {error}") from error

    def _take(self, owners: list[Address | None]) -> None:
        if owners != self._owners:
            self.version += 1
        self._owners, self._primaries = owners, sorted({one for one in owners if one is not None})

    def _asked(self, node: Address) -> Any:
        client = node_client(self._settings, node)
        try:
            return client.execute_command("CLUSTER SLOTS")
        finally:
            with suppress(redis.RedisError, OSError):
                client.close()


def node_client(settings: RedisSettings, node: Address) -> Any:
    """Return a blocking client of one node, with the URL's user, password and TLS."""
    timeout_s = settings.timeout_ms / 1000
    options = {
        **parse_url(settings.url),  # type: ignore[no-untyped-call]
        **tls_options(settings),
        **{"host": node[0], "port": node[1], "protocol": 2, "socket_timeout": timeout_s},
        **{"socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)},
    }
    client = redis.Redis(connection_pool=redis.ConnectionPool(**options))
    client.set_response_callback("CLUSTER SLOTS", lambda answer, **_: answer)
    return client


_MAPS: dict[tuple[str, tuple[str, ...], str, str], ClusterMap] = {}
_MAKING: Final = threading.Lock()


def cluster_map(settings: RedisSettings) -> ClusterMap:
    """Return this process's table of a cluster."""
    about = (settings.url, settings.nodes, settings.tls_ca, settings.tls_certificate)
    with _MAKING:
        if about not in _MAPS:
            _MAPS[about] = ClusterMap(settings)
        return _MAPS[about]
