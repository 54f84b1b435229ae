"""Which servers hold a deployment's keys: whether they are the same all along, and what their replicas have.

Who walks over all keys of a Redis Cluster passes by one whose slot moves from a primary that is still to be walked to
one that was. And a primary that dies takes along what its replica had not got: what was deleted is back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import redis

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import is_cluster, redis_errors_translated, servers_of
from state.cluster_map import cluster_map, node_client
from state.slots import Address, slot_of

_SILENT_S: Final = 10
"""A replica says every second how far it is; what only reads along as one, such as a copy to elsewhere, never does."""


class Holder(NamedTuple):
    """A server that takes writes. `run` is another one each time that it starts; `slots` as it names them itself."""

    place: str
    run: str
    slots: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Tell whether a slot is on its way to or from it."""
        return any(slot.startswith("[") for slot in self.slots)


def holders_of(client: Any, settings: RedisSettings) -> tuple[Holder, ...]:
    """Return the servers that hold all keys now. Raises StateUnavailable."""
    with redis_errors_translated(settings):
        if is_cluster(client):
            client.table.doubt()
            client.table.read()
        return tuple(_holder(server, of_cluster=is_cluster(client)) for server in servers_of(client))


def expect_same(before: tuple[Holder, ...], now: tuple[Holder, ...]) -> None:
    """Raise StateUnavailable where other servers hold the keys by now, or slots are on the move."""
    if any(one.moves for one in (*before, *now)):
        raise StateUnavailable(
            "a slot of the cluster is on the move, and keys are at two nodes: again when that is done"
        )
    if before != now:
        raise StateUnavailable(
            "Redis began anew, a replica took over, or slots moved meanwhile: again from the beginning"
        )


@contextmanager
def walking(client: Any, settings: RedisSettings) -> Iterator[None]:
    """For a walk over all keys. Raises StateUnavailable where it may have passed some by. One Redis has them all."""
    if not is_cluster(client):
        yield
        return
    before = holders_of(client, settings)
    yield
    expect_same(before, holders_of(client, settings))


class SlotHolder(NamedTuple):
    """Who has a slot of a cluster. `run` is another one each time that a server starts."""

    node: Address
    run: str
    moves: bool


def slot_holder(settings: RedisSettings, key: str) -> SlotHolder | None:
    """Return who has the slot of a key; None of one Redis. Raises StateUnavailable."""
    if not settings.is_cluster:
        return None
    table, slot = cluster_map(settings), slot_of(key.encode())
    with redis_errors_translated(settings):
        table.doubt()
        table.read()
        node = table.owner(slot)
        with closing(node_client(settings, node)) as server:
            moves = any(word.startswith(f"[{slot}-") for word in _own_slots(server))
            return SlotHolder(node, _run(server), moves)


def expect_one_holder(before: SlotHolder | None, now: SlotHolder | None) -> None:
    """Raise StateUnavailable unless one server had a slot all along: a cursor into a hash means nothing to another one,
    and rows would be passed by.
    """
    if (before is not None and before.moves) or before != now:
        raise StateUnavailable("a slot moved, or is on the move, while what lies there was read: read it again")


@contextmanager
def scanning(settings: RedisSettings, key: str) -> Iterator[None]:
    """For a walk through one hash, from a thread. Raises StateUnavailable where it may have passed rows by."""
    before = slot_holder(settings, key)
    yield
    expect_one_holder(before, slot_holder(settings, key))


def written_to(client: Any, settings: RedisSettings) -> dict[str, int]:
    """Return how far each server that takes writes has written, by its place. Raises StateUnavailable."""
    with redis_errors_translated(settings):
        return {
            _place(server): int(_info(server, "replication").get("master_repl_offset", 0))
            for server in servers_of(client)
        }


def replicas_have(client: Any, settings: RedisSettings, written: Mapping[str, int]) -> bool:
    """Tell whether each replica that follows has what was written. Raises StateUnavailable."""
    with redis_errors_translated(settings):
        for server in servers_of(client):
            told = _info(server, "replication")
            replicas = [told.get(f"slave{number}") for number in range(told.get("connected_slaves", 0))]
            if any(_lacks(one, written.get(_place(server), 0)) for one in replicas if one is not None):
                return False
    return True


def _lacks(replica: Mapping[str, Any], written: int) -> bool:
    """Tell whether a replica has less than what was written. One that never said how far it is takes no place."""
    offset = int(replica["offset"])
    return offset < written and not (offset == 0 and int(replica["lag"]) > _SILENT_S)


@contextmanager
def all_servers(client: Any, settings: RedisSettings) -> Iterator[list[redis.Redis]]:
    """Give a client of each server that has files of the deployment: of a cluster its replicas too, and primaries that
    have no slot any more.
    """
    if not is_cluster(client):
        yield servers_of(client)
        return
    opened = [node_client(settings, node) for node in _nodes(servers_of(client)[0])]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


def _holder(server: Any, *, of_cluster: bool) -> Holder:
    run = _run(server)
    if not of_cluster:
        return Holder(_place(server), run)
    return Holder(_place(server), run, tuple(sorted(_own_slots(server))))


def _own_slots(server: Any) -> list[str]:
    [mine] = [words for words in _cluster_nodes(server) if "myself" in words[2].split(",")]
    return mine[8:]


def _nodes(server: Any) -> list[Address]:
    """Return where the nodes of a cluster are that can be reached."""
    found = []
    for words in _cluster_nodes(server):
        place, flags = words[1].partition("@")[0], words[2].split(",")
        host, _, port = place.rpartition(":")
        if not {"fail", "noaddr", "handshake"} & set(flags) and port.isdecimal():
            options = server.connection_pool.connection_kwargs
            found.append((host.strip("[]") or options["host"], int(port)))
    return found


def _cluster_nodes(server: Any) -> list[list[str]]:
    server.set_response_callback("CLUSTER NODES", lambda answer, **_: answer)
    told: bytes = server.execute_command("CLUSTER NODES")
    return [line.split() for line in told.decode(errors="replace").splitlines()]


def _run(server: Any) -> str:
    return str(_info(server, "server").get("run_id", ""))


def _info(server: Any, section: str) -> dict[str, Any]:
    """Return what a server tells of itself; nothing where this user may not ask: it is taken at its word."""
    try:
        told: dict[str, Any] = server.info(section)
    except redis.exceptions.NoPermissionError:
        return {}
    return told


def _place(server: Any) -> str:
    options = server.connection_pool.connection_kwargs
    return f"{options.get('host')}:{options.get('port')}"
