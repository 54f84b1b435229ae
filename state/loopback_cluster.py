"""A Redis Cluster on loopback, three primaries and their replicas, to measure and to test on."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis

from state.embedded import find_redis_server
from state.launch import LogFile, launch
from state.ports import free_port
from state.slots import SLOTS, slot_of

FAILS_AFTER_MS = 1000
"""A node that is silent for so long has failed."""


def until(is_so: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Return what `is_so` says once it says anything."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with suppress(redis.RedisError, OSError):
            if found := is_so():
                return found
        time.sleep(0.02)
    raise TimeoutError(f"expected a server to come so far within {within_s:.0f} s, see its log")


_BUS = 10_000
"""So far above a node's port is the one that nodes speak with each other on."""


def _node_port() -> int:
    while True:
        port = free_port()
        with suppress(OSError), socket.socket() as bus:
            if port + _BUS <= 65_535:
                bus.bind(("127.0.0.1", port + _BUS))
                return port


class Node:
    """One redis-server, on its own files."""

    def __init__(self, folder: Path, *options: str, config: str = "", tls: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._folder, self._config, self._options = _node_port(), folder, config, (*options, *tls)
        self.is_tls = bool(tls)
        self.tls_files: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    def start(self) -> None:
        file = self._folder / "conf"
        if self._config and not file.exists():
            file.write_text(self._config)
        port = ("--port", "0", "--tls-port", str(self.port)) if self.is_tls else ("--port", str(self.port))
        command = [str(find_redis_server()), *([str(file)] if self._config else []), *port, "--bind", "127.0.0.1"]
        saves = () if "--sentinel" in self._options else ("--save", "")
        told = [*command, "--dir", str(self._folder), *saves, *self._options]
        self.process = launch(told, LogFile(self._folder / "log"))

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = redis.Redis("127.0.0.1", self.port, socket_timeout=10, ssl=self.is_tls, **self.tls_files)
            self._client.set_response_callback("CLUSTER SLOTS", lambda answer, **_: answer)
        return self._client

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        if self._client is not None:
            self._client.close()


class Cluster:
    """Three primaries and their replicas. Replicas do not move by themselves."""

    def __init__(self, folder: Path, *, replicas: int = 1, tls: tuple[str, ...] = (), files: Any = None) -> None:
        options = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(FAILS_AFTER_MS), "--appendonly", "yes"),
            *("--stream-node-max-bytes", "65536", "--stream-node-max-entries", "500"),
            *("--appendfsync", "no", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
            *("--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no"),
            *(("--tls-cluster", "yes", "--tls-replication", "yes") if tls else ()),
        )
        self.nodes = [Node(folder / str(at), *options, tls=tls) for at in range(3 * (1 + replicas))]
        for node in self.nodes:
            node.tls_files = files or {}
        self._replicas = replicas

    @property
    def url(self) -> str:
        return f"{'rediss' if self.nodes[0].is_tls else 'redis'}://{self.nodes[0].place}/0"

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(node.place for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        for at, node in enumerate(self.nodes):
            until(node.client.ping)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for at, primary in enumerate(self.nodes[:3]):
            first, last = SLOTS * at // 3, SLOTS * (at + 1) // 3 - 1
            primary.client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
        for node in self.nodes[1:]:
            self.nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        everybody = len(self.nodes)
        for node in self.nodes:
            until(partial(_knows, node, everybody))
        for at, node in enumerate(self.nodes[3:]):
            node.client.execute_command("CLUSTER", "REPLICATE", self.id_of(self.nodes[at % 3]))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return once all slots are served, every node knows so, and every replica follows its primary."""
        for node in self.nodes:
            if node.process is not None:
                until(partial(_is_whole, node))
                until(partial(follows, node))

    def id_of(self, node: Node) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID").decode())

    def owner_of(self, key: str) -> Node:
        """Return the primary that has a key's slot, as those that run know it."""
        slot = slot_of(key.encode())
        asked = next(node for node in self.nodes if node.process is not None)
        for first, last, primary, *_ in asked.client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody has slot {slot}")

    def move_slot(self, slot: int, source: Node, target: Node, *, keys_at_once: int = 10) -> Iterator[int]:
        """Move a slot as redis-cli does, yielding how many keys moved, before each step."""
        source_id, target_id = self.id_of(source), self.id_of(target)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        moved = 0
        while True:
            yield moved
            keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, keys_at_once)
            if not keys:
                break
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        for node in (target, source, *(one for one in self.nodes[:3] if one not in (source, target))):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def follows(node: Node) -> bool:
    """Tell whether a node is a primary, or a replica that has all that its primary has."""
    told = node.client.info("replication")
    return bool(told["role"] == "master" or told["master_link_status"] == "up")


def _knows(node: Node, count: int) -> bool:
    return int(node.client.cluster("INFO")["cluster_known_nodes"]) == count


def _is_whole(node: Node) -> bool:
    return bool(node.client.cluster("INFO")["cluster_state"] == "ok")


@contextmanager
def running_cluster(folder: Path, **options: Any) -> Iterator[Cluster]:
    cluster = Cluster(folder, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
