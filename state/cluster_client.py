"""A blocking client of a Redis Cluster with the shape of redis-py's client of one Redis, and round trips over it.

redis-py's own RedisCluster connects when it is made, keeps a table of slots for each client, retries by its own
clock, and takes a WATCH for a mistake in places where ours are right. Rounds and lines need the routing anyway, so the
client stands on it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.connection import parse_url

from contracts.settings import RedisSettings
from state.client import ConnectionLost
from state.cluster_map import ClusterMap, cluster_map
from state.cluster_round import Round
from state.slots import Address, Why, as_bytes, key_of, name_of, redirect_of, slot_of
from state.wait import Wait
from state.waiting import WaitingPipeline, wait_of

_PAUSE_S: Final = 0.02
"""Before a node that asked for patience is asked again."""
_OF_MANY: Final = frozenset((b"MGET", b"DEL", b"UNLINK", b"EXISTS"))
"""Commands of many keys, which may lie in several slots: they are asked by slot."""


class Connections(Protocol):
    """Connections to nodes, for one round: taken before anything is sent."""

    def take(self, node: Address) -> Any: ...

    def give(self, node: Address, connection: Any) -> None: ...


def run(made: Round, table: ClusterMap, connections: Connections, limit_s: float) -> list[Any]:
    """Carry a round out; returns its answers, errors among them. Raises redis.RedisError and OSError for a node that
    cannot be reached, and NotCopied.
    """
    until, tried = time.monotonic() + limit_s, False
    if table.is_due():
        with suppress(redis.ConnectionError):
            table.read()
    while batches := made.batches():
        try:
            taken = _taken(batches, connections)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            table.doubt()
            if tried or isinstance(error, ConnectionLost):
                raise
            tried = True  # nothing was sent yet: another node may have taken its place
            table.read()
            continue
        _talk(made, batches, taken, table, connections)
        for slot, to in made.moved:
            table.moved(slot, to)
        if made.paused:
            if time.monotonic() >= until:
                made.give_up()
                break
            table.doubt()
            time.sleep(_PAUSE_S)
        if table.is_due():
            with suppress(redis.ConnectionError):
                table.read()
    if made.not_copied is not None:
        raise made.not_copied
    return made.answers()


def _taken(nodes: Iterable[Address], connections: Connections) -> dict[Address, Any]:
    taken: dict[Address, Any] = {}
    try:
        for node in nodes:
            taken[node] = connections.take(node)
    except BaseException:
        for node, connection in taken.items():
            connections.give(node, connection)
        raise
    return taken


def _talk(made: Round, batches: Any, taken: dict[Address, Any], table: ClusterMap, connections: Connections) -> None:
    """Send to all nodes before any is listened to."""
    try:
        for node, batch in batches.items():
            taken[node].send_packed_command([batch.sent])
        for node, batch in batches.items():
            made.heard(node, [_answer(taken[node]) for _ in range(batch.expects)])
    except BaseException:  # answers that nobody read must not be taken for the next round's
        table.doubt()
        for connection in taken.values():
            connection.disconnect()
        raise
    finally:
        for node, connection in taken.items():
            connections.give(node, connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


class ClusterClient(redis.Redis):
    """As redis.Redis, with a pool of connections a node. A call whose connection died is tried once more, if `retries`.

    `connects` is called for each connection, with whether it may stand in the place of one that was lost: it is not
    the first one to a node that had its slots all along.
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
        known = not self._met or (node not in self._met and self._met_at == self.table.version)
        self._met.add(node)
        self._met_at = self.table.version
        assert self._connects is not None
        self._connects(not known)
        connection.on_connect()

    def primaries(self) -> list[redis.Redis]:
        """Return a client for each primary by itself, over this client's connections."""
        return [redis.Redis(connection_pool=self.pool(node)) for node in self.table.primaries()]

    def take(self, node: Address) -> Any:
        return self.pool(node).get_connection()

    def give(self, node: Address, connection: Any) -> None:
        self.pool(node).release(connection)

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
            return [_answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self.give(node, connection)

    def run(self, commands: Sequence[Sequence[Any]], wait: Wait | None = None) -> list[Any]:
        """Return what the nodes answer, one a command, in order; an error that they answer is among them."""
        for left in range(self._retries, -1, -1):
            try:
                return run(self._round(commands, wait), self.table, self, self.limit_s)
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                if not left:
                    raise
        raise AssertionError

    @property
    def limit_s(self) -> float:
        return self._settings.timeout_ms / 1000

    def _round(self, commands: Sequence[Sequence[Any]], wait: Wait | None) -> Round:
        return Round(commands, owner=self.table.owner, primaries=self.table.primaries, wait=wait)

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
        made = Round(commands, owner=self._client.table.owner, primaries=self._client.table.primaries)
        return run(made, self._client.table, self, self._client.limit_s)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.disconnect()


class ClusterPipeline(WaitingPipeline):
    """Without a transaction, commands of any slots; with one, of one slot, on one connection to its node.

    A transaction that meets a slot on the move has written nothing. That is told as a WatchError, as whoever watches
    tries again then.
    """

    def __init__(self, client: ClusterClient, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client, self.waits_for = client, client.waits_for
        self._transacts = transaction
        self._slot: int | None = None

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        if self.connection is None:
            self._bind(args)
        try:
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            raise self._told(error) from error

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not (self._transacts or self.explicit_transaction):
            return self._of_any_slots(raise_on_error)
        if self.connection is None and self.command_stack:
            self._bind(self.command_stack[0][0])
        try:
            return super().execute(raise_on_error)
        except redis.ResponseError as error:
            raise self._told(error) from error

    def _bind(self, command: Sequence[Any]) -> None:
        """Have the pipeline's connection be one to the node of a command's slot."""
        table, key = self._client.table, key_of(command)
        self._slot = slot_of(key or b"")
        if table.is_due():
            with suppress(redis.ConnectionError):
                table.read()
        self.connection_pool = self._client.pool(table.owner(self._slot))
        try:
            self.connection = self.connection_pool.get_connection()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            table.doubt()
            table.read()
            self.connection_pool = self._client.pool(table.owner(self._slot))
            self.connection = self.connection_pool.get_connection()

    def _told(self, error: redis.ResponseError) -> Exception:
        turned = redirect_of(error)
        if turned is None:
            return error
        self._client.table.doubt()
        if turned.why is not Why.MOVED:
            time.sleep(_PAUSE_S)
        elif self._slot is not None and turned.to is not None and turned.to[0]:
            self._client.table.moved(self._slot, turned.to)
        self.watching = False  # the connection is given back, and begins anew
        if self.connection is not None:
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        return redis.WatchError(f"the slot is on the move: {error}")

    def _of_any_slots(self, raise_on_error: bool) -> list[Any]:
        stack = self.command_stack
        try:
            for script in self.scripts:
                self._client.script_load(script.script)
            answers = self._client.answered(stack, self.waits_for) if stack else []
            if raise_on_error:
                self.raise_first_error(stack, answers)  # type: ignore[no-untyped-call]
            return answers
        finally:
            self.reset()
