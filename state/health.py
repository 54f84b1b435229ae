"""How a Redis does, asked once: whether it takes writes, what it keeps, its memory and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import redis

from contracts.keys import UNSYNCED, Keys
from contracts.redis_answers import advice
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated, servers_of
from state.probes import Probes
from state.restore_mark import sentence

MOST_PARTITIONS = 4096


@dataclass(frozen=True, slots=True)
class RedisHealth:
    """`refuses`: why it takes no writes. `max_bytes` 0: no bound. `policy`, `keeps_file`: None where it does not tell.
    `ahead_ms`: its clock beside ours. `partitions`: those of the log that hold something, the highest and one more.
    `restoring`: what a backup that is being put into it means. Of a cluster, memory and file are those of the primary
    that does worst.
    """

    version: str
    refuses: str | None
    unsynced: str | None
    used_bytes: int
    max_bytes: int
    policy: str | None
    keeps_file: bool | None
    ahead_ms: int
    partitions: int
    restoring: str | None = None

    @property
    def fullness(self) -> float:
        """The share of its memory that it uses; 0 without a bound."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


def redis_health(settings: RedisSettings, clock: Callable[[], float] = time.time) -> RedisHealth:
    """Ask. Changes nothing. Raises StateUnavailable where it does not answer."""
    keys = Keys(settings.prefix)
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        before = clock()
        seconds, micros = client.time()
        ours = (before + clock()) / 2
        servers = servers_of(client)
        memory = max((_info(one, "memory") for one in servers), key=_fullness)
        files = [_info(one, "persistence") for one in servers]
        persistence = min(files, key=lambda told: int(told.get("aof_enabled", 0)))
        server = _info(servers[0], "server")
        unsynced, mark = client.get(UNSYNCED), client.get(keys.restoring())
        return RedisHealth(
            version=str(server.get("redis_version", "")),
            refuses=_refusal(client, settings),
            unsynced=unsynced.decode(errors="replace") if isinstance(unsynced, bytes) else None,
            used_bytes=int(memory.get("used_memory", 0)),
            max_bytes=int(memory.get("maxmemory", 0)),
            policy=memory.get("maxmemory_policy"),
            keeps_file=bool(persistence["aof_enabled"]) if "aof_enabled" in persistence else None,
            ahead_ms=round(1000 * (seconds + micros / 1e6 - ours)),
            partitions=_partitions(client, keys),
            restoring=sentence(mark, f"Redis at {settings.place}") if isinstance(mark, bytes) else None,
        )


def _info(server: Any, section: str) -> Mapping[str, Any]:
    return _told(lambda: server.info(section)) or {}


def _fullness(memory: Mapping[str, Any]) -> tuple[float, int]:
    used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
    return used / most if most else 0.0, used


def _told(ask: Callable[[], Any]) -> Any:
    """Return an answer; None from a Redis that forbids the question."""
    with suppress(redis.ResponseError):
        return ask()
    return None


def _refusal(client: Any, settings: RedisSettings) -> str | None:
    probes = Probes(settings)
    probes.read()
    try:
        client.ping()
        for command in probes.commands():
            client.execute_command(*command)
    except redis.ResponseError as error:
        return f"{error}: {advice(error)}"
    return None


def _partitions(client: Any, keys: Keys) -> int:
    with client.pipeline(transaction=False) as asked:
        for partition in range(MOST_PARTITIONS):
            asked.exists(keys.progress(partition), keys.log_end("clicks", partition), keys.log_end("items", partition))
        found = asked.execute()
    return max((partition + 1 for partition, held in enumerate(found) if held), default=0)
