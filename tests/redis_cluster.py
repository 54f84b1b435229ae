"""A Redis Cluster for tests, and a Redis that Sentinels watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.settings import RedisSettings
from state.loopback_cluster import FAILS_AFTER_MS, Cluster, Node, follows, running_cluster, until

__all__ = [
    "Cluster",
    "Watched",
    "fail_over",
    "hold_behind",
    "replica_of",
    "running_cluster",
    "until",
    "watched_by_sentinels",
]


def replica_of(cluster: Cluster, primary: Node) -> Node:
    """Return the one replica of a primary."""
    others = [node for node in cluster.nodes if node.process is not None and node is not primary]
    [replica] = [node for node in others if node.client.role()[:3] == [b"slave", b"127.0.0.1", primary.port]]
    return replica


def hold_behind(cluster: Cluster, primary: Node) -> Node:
    """Have a primary's replica get nothing that is written from now on; returns the replica."""
    replica = replica_of(cluster, primary)
    replica.client.config_set("masterauth", "refused")
    primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    until(lambda: not primary.client.info("replication")["connected_slaves"])
    return replica


def fail_over(cluster: Cluster, primary: Node, replica: Node) -> None:
    """Kill a primary; returns once its replica has taken over, and everybody who runs knows."""
    primary.kill()
    until(lambda: replica.client.role()[0] == b"master")
    replica.client.config_set("masterauth", "")
    cluster.wait_until_whole()


class Watched:
    """A Redis, its replica, and three Sentinels that watch them."""

    def __init__(self, folder: Path, *, tls: tuple[str, ...] = (), files: Any = None) -> None:
        replicates = ("--appendonly", "yes", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        self.folder = folder
        self._tls = (*tls, "--tls-replication", "yes") if tls else ()
        self._files = files or {}
        self.servers = [self._node(f"redis-{at}", *replicates) for at in range(2)]
        self.sentinels: list[Node] = []

    def start(self) -> None:
        first, second = self.servers
        for server in self.servers:
            server.start()
            until(server.client.ping)
        second.client.replicaof("127.0.0.1", first.port)
        until(lambda: follows(second))
        config = (
            f"sentinel monitor shop 127.0.0.1 {first.port} 2\nsentinel down-after-milliseconds shop {FAILS_AFTER_MS}\n"
            "sentinel failover-timeout shop 10000\n"
        )
        self.sentinels = [self._node(f"sentinel-{at}", "--sentinel", config=config) for at in range(3)]
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            until(lambda sentinel=sentinel: self._sees_all(sentinel))

    def _node(self, name: str, *options: str, config: str = "") -> Node:
        node = Node(self.folder / name, *options, config=config, tls=self._tls)
        node.tls_files = self._files
        return node

    @staticmethod
    def _sees_all(sentinel: Node) -> bool:
        told = sentinel.client.execute_command("SENTINEL", "MASTER", "shop")
        fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
        return [int(_field(fields, name)) for name in ("num-slaves", "num-other-sentinels")] == [1, 2]

    def settings(self, **more: Any) -> RedisSettings:
        nodes = tuple(sentinel.place for sentinel in self.sentinels)
        told: dict[str, Any] = {"service": "shop", "timeout_ms": 5000, **more}
        scheme = "rediss" if self._tls else "redis"
        return RedisSettings(url=f"{scheme}://unasked:1/0", kind="sentinel", nodes=nodes, **told)

    def primary(self) -> Node:
        _, port = self.sentinels[0].client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "shop")
        return next(server for server in self.servers if server.port == int(port))

    def stop(self) -> None:
        for node in (*self.sentinels, *self.servers):
            node.stop()


def _field(fields: Any, name: str) -> Any:
    return fields.get(name, fields.get(name.encode()))


@contextmanager
def watched_by_sentinels(folder: Path, **options: Any) -> Iterator[Watched]:
    watched = Watched(folder, **options)
    try:
        watched.start()
        yield watched
    finally:
        watched.stop()
