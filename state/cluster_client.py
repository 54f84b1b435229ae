"""A blocking client of a Redis Cluster with the shape of redis-py's client of one Redis, and round trips over it.

redis-py's own RedisCluster connects when it is made, keeps a table of slots for each client, retries by its own
clock, and takes a WATCH for a mistake in places where ours are right. Rounds and lines need the routing anyway, so the
client stands on it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakSet

import redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.connection import parse_url

from contracts.settings import RedisSettings
from state.cluster_map import cluster_map
from state.cluster_pipeline import ClusterPipeline
from state.cluster_rounds import answer_of, asked
from state.slots import Address, as_bytes, key_of, name_of, slot_of
from state.wait import Wait
from state.waiting import wait_of

_OF_MANY: Final = frozenset((b"MGET", b"DEL", b"UNLINK", b"EXISTS"))
"""Commands of many keys, which may lie in several slots: they are asked by slot."""


class ClusterClient(redis.Redis):
    """As redis.Redis, with a pool of connections a node. A call whose connection died is tried once more, if `retries`.

    `connects` is called for each connection, with whether it may stand in the place of one that was lost. One more
    beside others, to a node that had its slots all along, does not; nor does one that was left with `leave`.
    """

    def __init__(
        self,
        settings: RedisSettings,
        options: dict[str, Any],
        *,
        connects: Callable[[bool], None] | None = None,
        retries: int = 1,
    ) -> None:
        self._settings, self._connects, self._retries = settings, connects, retries
        self.table, self.waits_for = cluster_map(settings), wait_of(settings)
        self._options = {**options, **parse_url(settings.url)}  # type: ignore[no-untyped-call]
        self._pools: dict[Address, redis.ConnectionPool] = {}
        self._met, self._met_at = set[Address](), self.table.version
        self._greeted = WeakSet[Any]()
        super().__init__(connection_pool=redis.ConnectionPool(**self._at(settings.seeds[0])))

    def pool(self, node: Address) -> redis.ConnectionPool:
        """Return the connections to a node."""
        if node not in self._pools:
            options = self._at(node)
            if self._connects is not None:
                options["redis_connect_func"] = partial(self._greet, node)
            self._pools[node] = redis.ConnectionPool(**options)
        return self._pools[node]

    def _at(self, node: Address) -> dict[str, Any]:
        return {**self._options, "host": node[0], "port": node[1]}

    def _greet(self, node: Address, connection: Any) -> None:
        is_new = not self._met or (self._met_at == self.table.version and connection not in self._greeted)
        self._met.add(node)
        self._met_at = self.table.version
        self._greeted.add(connection)
        assert self._connects is not None
        self._connects(not is_new)
        connection.on_connect()

    def primaries(self) -> list[redis.Redis]:
        """Return a client for each primary by itself, over this client's connections."""
        return [redis.Redis(connection_pool=self.pool(node)) for node in self.table.primaries()]

    def take(self, node: Address) -> Any:
        return self.pool(node).get_connection()

    def give(self, node: Address, connection: Any) -> None:
        self.pool(node).release(connection)

    def leave(self, node: Address, connection: Any) -> None:
        """Give back a connection that is closed as nobody wants its answer: it was not lost."""
        connection.disconnect()
        self._greeted.discard(connection)
        self.give(node, connection)

    def dedicated(self) -> Dedicated:
        """Return round trips over connections of their own."""
        return Dedicated(self)

    def nodes_of(self, commands: Sequence[Sequence[Any]]) -> list[Address]:
        """Return the nodes that have the slots of commands, by the table as it is now."""
        keys = (key for command in commands if (key := key_of(command)) is not None)
        return sorted({self.table.owner(slot_of(key)) for key in keys})

    def ask(self, node: Address, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Return what one node answers, errors among it."""
        connection = self.take(node)
        try:
            for command in commands:
                connection.send_command(*command)
            return [answer_of(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self.give(node, connection)

    def run(self, commands: Sequence[Sequence[Any]], wait: Wait | None = None) -> list[Any]:
        """Return what the nodes answer, one a command, in order; an error that they answer is among them."""
        for left in range(self._retries, -1, -1):
            try:
                return asked(commands, self.table, self, self.limit_s, wait)
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                if not left:
                    raise
        raise AssertionError

    @property
    def limit_s(self) -> float:
        return self._settings.timeout_ms / 1000

    def execute_command(self, *args: Any, **options: Any) -> Any:
        [answer] = self.answered([(args, options)], self.waits_for)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answered(self, commands: Sequence[tuple[Any, dict[str, Any]]], wait: Wait | None) -> list[Any]:
        """Return what redis-py makes of the answers to commands with their options, errors among them."""
        parts = [_by_slot(_words(args)) for args, _ in commands]
        raw, found = iter(self.run([part for one in parts for part, _ in one], wait)), []
        for (args, options), one in zip(commands, parts, strict=True):
            answer = _joined(one, [next(raw) for _ in one])
            found.append(self._read(args[0], answer, dict(options)))
        return found

    def _read(self, name: str, answer: Any, options: dict[str, Any]) -> Any:
        empty = options.pop(EMPTY_RESPONSE, None)
        if isinstance(answer, Exception):
            return empty if empty is not None else answer
        for one in (NEVER_DECODE, "keys"):
            options.pop(one, None)
        callback = self.response_callbacks.get(name)  # type: ignore[no-untyped-call]
        return answer if callback is None else callback(answer, **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> ClusterPipeline:
        return ClusterPipeline(self, transaction)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.disconnect()
        super().close()


def _words(args: Sequence[Any]) -> Sequence[Any]:
    """Return a command as it is sent: redis-py's names may be two words."""
    first = as_bytes(args[0])
    return (*first.split(), *args[1:]) if b" " in first else args


def _by_slot(command: Sequence[Any]) -> list[tuple[Sequence[Any], list[int]]]:
    """Return a command as those that go to one slot each, with the places of their keys."""
    if name_of(command) not in _OF_MANY or len(command) < 3:
        return [(command, [])]
    places: dict[int, list[int]] = {}
    for at, key in enumerate(command[1:]):
        places.setdefault(slot_of(as_bytes(key)), []).append(at)
    return [((command[0], *(command[1 + at] for at in mine)), mine) for mine in places.values()]


def _joined(parts: Sequence[tuple[Sequence[Any], list[int]]], answers: list[Any]) -> Any:
    if len(parts) == 1:
        return answers[0]
    if error := next((one for one in answers if isinstance(one, Exception)), None):
        return error
    if isinstance(answers[0], int):
        return sum(answers)
    found: list[Any] = [None] * sum(len(mine) for _, mine in parts)
    for (_, mine), answer in zip(parts, answers, strict=True):
        for at, one in zip(mine, answer, strict=True):
            found[at] = one
    return found


class Dedicated:
    """Round trips of one thread over one connection a node, each made when it is first needed."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._connections: dict[Address, Any] = {}

    def take(self, node: Address) -> Any:
        if node not in self._connections:
            self._connections[node] = self._client.pool(node).make_connection()
        connection = self._connections[node]
        connection.connect()
        return connection

    def give(self, node: Address, connection: Any) -> None:
        """It stays."""

    def run(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """As ClusterClient.run, but nothing is tried again: a connection that died is an error once."""
        return asked(commands, self._client.table, self, self._client.limit_s)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.disconnect()
