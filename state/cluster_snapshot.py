"""The snapshot of a Redis Cluster at one moment: its primaries hold writes back until each of them has forked.

Primaries share no moment by themselves: the offset of a flow in one slot would lie ahead of the log in another, and the
restored log gives those offsets anew, to clicks that the flow then passes by. So writes are held back on all primaries
(CLIENT PAUSE ... WRITE), each is asked for a snapshot as a replica asks for it (SYNC), and they go on as soon as each
has forked: what it holds then is what all of them held. A pause ends by itself, whatever becomes of us.

SYNC without `capa eof` forks at once; with it, Redis waits for more replicas for up to its repl-diskless-sync-delay.
"""

from __future__ import annotations

import io
import select
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import redis_errors_translated
from state.cluster_map import cluster_map, node_client
from state.rdb_join import join_snapshots
from state.redis_snapshot import PATIENCE_MS, SnapshotFacts, SnapshotRefused, copy_snapshot
from state.slots import Address, owners_in

PAUSE_MS: Final = 1500
"""Writes are held back for no longer: less than what clients wait for an answer."""
_TRIES: Final = 3
_LOOK_S: Final = 0.002
_IDLE_S: Final = 60.0
"""A primary that saves or rewrites its files is waited for: it forks once at a time."""


class Again(StateUnavailable):
    """No snapshot of one moment was taken, though another try may do."""


class ClusterSnapshot(NamedTuple):
    facts: SnapshotFacts
    primaries: int
    paused_ms: int
    """How long writes were held back."""


def write_cluster_snapshot(settings: RedisSettings, path: Path) -> ClusterSnapshot:
    """Write an RDB file of all that the primaries of a cluster hold at one moment.

    Raises SnapshotRefused, StateUnavailable, OSError. What was written before an error is no snapshot.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            with tempfile.TemporaryDirectory(prefix="nodes-", dir=path.parent) as folder:
                return _written(settings, Path(folder), path)
        except Again:
            if not left:
                raise
            time.sleep(0.5)
    raise AssertionError


def _written(settings: RedisSettings, folder: Path, path: Path) -> ClusterSnapshot:
    table = cluster_map(settings)
    with redis_errors_translated(settings), ExitStack() as open_ones:
        table.doubt()
        table.read()
        primaries = [_Primary(settings, node) for node in table.primaries()]
        for one in primaries:
            open_ones.callback(one.close)
        for one in primaries:
            one.prepare()
        paused_ms = _ask_at_one_moment(primaries)
        parts = [folder / str(number) for number in range(len(primaries))]
        with ThreadPoolExecutor(len(primaries)) as several:
            list(several.map(_Primary.take, primaries, parts))
    return ClusterSnapshot(join_snapshots(parts, path), len(parts), paused_ms)


def _ask_at_one_moment(primaries: Sequence[_Primary]) -> int:
    """Have all primaries fork while none of them takes writes; returns for how many milliseconds. Raises Again."""
    with _held_back(primaries) as began:
        for one in primaries:
            one.note_forks()
            one.expect_cluster(primaries)
        for one in primaries:
            one.ask()
        forked = [False]
        while not all(forked):
            _expect_held(began)
            time.sleep(_LOOK_S)
            forked = [one.has_forked() for one in primaries]  # each, each time: what else it begins is seen
        for one in primaries:
            one.expect_cluster(primaries)
        _expect_held(began)
    return int((time.monotonic() - began) * 1000)


@contextmanager
def _held_back(primaries: Sequence[_Primary]) -> Iterator[float]:
    """Give the moment after which writes wait, for PAUSE_MS at least or until the end."""
    began = time.monotonic()
    try:
        for one in primaries:
            one.hold_back()
        yield began
    finally:
        for one in primaries:
            with suppress(redis.RedisError, OSError):
                one.go_on()


def _expect_held(began: float) -> None:
    if (time.monotonic() - began) * 1000 >= PAUSE_MS:
        raise Again(
            f"the primaries did not all begin a snapshot within {PAUSE_MS} ms, for which writes may be held back: take "
            "the backup when the cluster is less busy"
        )


class _Primary:
    """One primary: a client for questions, and a connection that takes the snapshot."""

    def __init__(self, settings: RedisSettings, node: Address) -> None:
        self.node, self._forks = node, 0
        self._client = node_client(settings, node)
        self._client.set_response_callback("CLUSTER NODES", lambda answer, **_: answer)
        patient = settings.model_copy(update={"timeout_ms": max(settings.timeout_ms, PATIENCE_MS)})
        self._taking = node_client(patient, node).connection_pool.make_connection()
        self._source: Any = None

    def prepare(self) -> None:
        """Connect, and wait until this primary has no other child that writes files."""
        self._taking.connect()
        self._taking.send_command("REPLCONF", "rdb-only", "1")
        with suppress(redis.ResponseError):  # older ones do not know it
            self._taking.read_response()
        until = time.monotonic() + _IDLE_S
        while self._is_busy():
            if time.monotonic() >= until:
                raise StateUnavailable(f"{self._place} has been saving or rewriting its files for a minute: try later")
            time.sleep(0.05)

    def hold_back(self) -> None:
        try:
            self._client.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        except redis.ResponseError as error:
            raise SnapshotRefused(f"expected {self._place} to hold writes back (CLIENT PAUSE), got {error}") from error

    def go_on(self) -> None:
        self._client.execute_command("CLIENT", "UNPAUSE")

    def note_forks(self) -> None:
        if self._is_busy():
            raise Again(f"{self._place} began to save or rewrite its files: take the backup when it has done so")
        self._forks = self._client.info("stats")["total_forks"]

    def expect_cluster(self, primaries: Sequence[_Primary]) -> None:
        """Raise Again unless this node knows just these primaries, and moves no slots."""
        owners = owners_in(self._client.execute_command("CLUSTER SLOTS"), self.node)
        if None in owners or set(owners) != {one.node for one in primaries}:
            raise Again(f"{self._place} knows other primaries, or slots that none has: wait until the cluster is whole")
        nodes = self._client.execute_command("CLUSTER NODES").splitlines()
        [mine] = [words for words in map(bytes.split, nodes) if b"myself" in words[2].split(b",")]
        if moving := [word for word in mine[8:] if word.startswith(b"[")]:
            raise Again(
                f"{self._place} is moving a slot ({moving[0].decode(errors='replace')[:60]}): its keys are at two "
                "nodes. Take the backup when that is done"
            )

    def ask(self) -> None:
        self._taking.send_command("SYNC")
        self._source = self._taking._sock.makefile("rb")  # what follows is no answer of the protocol

    def has_forked(self) -> bool:
        """Tell whether the snapshot has begun. Raises Again where something else did, and what copy_snapshot raises."""
        assert self._source is not None
        if select.select([self._taking._sock], [], [], 0)[0] and self._source.peek(1)[:1] == b"-":
            copy_snapshot(self._source, io.BytesIO())  # it raises what the refusal means
        if self._client.info("persistence")["aof_rewrite_in_progress"]:
            raise Again(f"{self._place} began to rewrite its files: take the backup when it has done so")
        return bool(self._client.info("stats")["total_forks"] > self._forks)

    def take(self, path: Path) -> None:
        assert self._source is not None
        with path.open("xb") as file:
            copy_snapshot(self._source, file)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._taking.disconnect()
        self._client.close()

    def _is_busy(self) -> bool:
        told: dict[str, Any] = self._client.info("persistence")
        return any(told.get(f"{what}_in_progress") for what in ("rdb_bgsave", "aof_rewrite", "module_fork"))

    @property
    def _place(self) -> str:
        return f"the primary {self.node[0]}:{self.node[1]}"
