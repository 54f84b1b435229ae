"""Rounds of commands to a Redis Cluster, from a thread: written to all nodes before any is listened to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import hiredis
import redis

from state.client import ConnectionLost
from state.cluster_map import ClusterMap
from state.cluster_round import Round
from state.slots import Address, redirect_of, split
from state.wait import Wait

PAUSE_S: Final = 0.02
"""Before a node that asked for patience is asked again."""


class Connections(Protocol):
    """Connections to nodes, for one round: taken before anything is sent."""

    def take(self, node: Address) -> Any: ...

    def give(self, node: Address, connection: Any) -> None: ...


def asked(
    commands: Sequence[Sequence[Any]],
    table: ClusterMap,
    connections: Connections,
    limit_s: float,
    wait: Wait | None = None,
) -> list[Any]:
    """Carry commands out; returns what is answered, errors among it. Raises what `run` does."""
    made: Round | None = None
    owners = table.owners
    if wait is None and owners and not table.is_doubted and (places := split(commands, owners)) is not None:
        heard = _heard(commands, places, table, connections)
        if heard is not None:
            answers, turned = _in_order(len(commands), places, heard)
            if not turned:
                return answers
            made = Round(commands, owner=table.owner, primaries=table.primaries)
            made.replay(owners, heard)
    if made is None:
        made = Round(commands, owner=table.owner, primaries=table.primaries, wait=wait)
    return run(made, table, connections, limit_s)


def _heard(
    commands: Sequence[Sequence[Any]], places: dict[Address, list[int]], table: ClusterMap, connections: Connections
) -> dict[Address, list[Any]] | None:
    """Return what nodes answer; None where one cannot be reached, and none was sent anything."""
    try:
        taken = _taken(places, connections)
    except ConnectionLost:
        raise
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        table.doubt()
        return None
    try:
        for node, mine in places.items():
            sent = b"".join([hiredis.pack_command(tuple(commands[at])) for at in mine])
            taken[node].send_packed_command([sent])
        return {node: answers_of(taken[node], len(mine)) for node, mine in places.items()}
    except BaseException:  # answers that nobody read must not be taken for the next round's
        table.doubt()
        for connection in taken.values():
            connection.disconnect()
        raise
    finally:
        for node, connection in taken.items():
            connections.give(node, connection)


def _in_order(count: int, places: dict[Address, list[int]], heard: dict[Address, list[Any]]) -> tuple[list[Any], bool]:
    """Return the answers in the order of the commands, and whether one of them sends us elsewhere."""
    answers, turned = [None] * count, False
    for node, mine in places.items():
        for at, answer in zip(mine, heard[node], strict=True):
            answers[at] = answer
            turned = turned or (isinstance(answer, Exception) and redirect_of(answer) is not None)
    return answers, turned


def run(made: Round, table: ClusterMap, connections: Connections, limit_s: float) -> list[Any]:
    """Carry a round out; returns its answers, errors among them. Raises redis.RedisError and OSError for a node that
    cannot be reached, and NotCopied.
    """
    until, tried = time.monotonic() + limit_s, False
    _note(made, table)
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
        if made.paused and time.monotonic() >= until:
            made.give_up()
            break
        _note(made, table)
    if made.not_copied is not None:
        raise made.not_copied
    return made.answers()


def _note(made: Round, table: ClusterMap) -> None:
    """Take note of what a round met: slots that moved, nodes that ask for patience."""
    for slot, to in made.moved:
        table.moved(slot, to)
    if made.paused:
        table.doubt()
        time.sleep(PAUSE_S)
    if table.is_due():
        with suppress(redis.ConnectionError):
            table.read()


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
            made.heard(node, answers_of(taken[node], batch.expects))
    except BaseException:  # answers that nobody read must not be taken for the next round's
        table.doubt()
        for connection in taken.values():
            connection.disconnect()
        raise
    finally:
        for node, connection in taken.items():
            connections.give(node, connection)


def answer_of(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


_FEW: Final = 100
_READ_BYTES: Final = 1 << 18


def answers_of(connection: Any, count: int) -> list[Any]:
    """Return so many answers, errors among them. Of many, redis-py's reading costs more than all else."""
    if count <= _FEW:
        return [answer_of(connection) for _ in range(count)]
    reader = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=connection._parser.parse_error)
    found: list[Any] = []
    while len(found) < count:  # no answer is left over from before: whatever came is of these
        read = connection._sock.recv(_READ_BYTES)
        if not read:
            raise redis.ConnectionError("the server closed the connection")
        reader.feed(read)
        while (answer := reader.gets()) is not False:
            if isinstance(answer, redis.ConnectionError):  # such as of a server that reads its files
                raise answer
            found.append(answer)
    return found
