"""What a click runs through, process by process: Redis, catalogue, gateway and flows, of any tree of code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow
from contracts.keys import CATALOGUE, Keys
from contracts.settings import LogSettings, RedisSettings
from flows.trend_recovery import prepare_recovery
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shoppers import default_shop
from session_model.serving import load_tower
from state.client import connect
from state.embedded import EmbeddedRedis
from state.ports import free_port
from state.tables import TableWriter

RunningRedis = Callable[[Path], AbstractContextManager[tuple[RedisSettings, dict[str, int]]]]
TICKS = os.sysconf("SC_CLK_TCK")
GIVE_UP_S = 300.0


@dataclass(slots=True)
class ClickStack:
    """Processes by name, and where they are."""

    redis: RedisSettings
    log: LogSettings
    port: int
    processes: Mapping[str, int]
    items: Sequence[str]

    def cpu_s(self) -> dict[str, float]:
        """Return the processor seconds that each process has used so far, as the operating system accounts them."""
        return {name: _cpu_s(pid) for name, pid in self.processes.items()}

    def applied(self) -> int:
        """Return how many records of the clicks log the sessions flow has applied."""
        keys = Keys(self.redis.prefix)
        with connect(self.redis) as client:
            stored = [client.hget(keys.progress(p), "next") for p in range(self.log.partitions)]
        return sum(int(one or 0) for one in stored)

    def wait_for(self, end: int) -> None:
        """Return when the sessions flow has applied `end` records."""
        until = time.monotonic() + GIVE_UP_S
        while self.applied() < end:
            if time.monotonic() > until:
                raise TimeoutError(f"expected {end} clicks applied within {GIVE_UP_S:g} s, got {self.applied()}")
            time.sleep(0.01)


@contextmanager
def running_redis(folder: Path) -> Iterator[tuple[RedisSettings, dict[str, int]]]:
    """Run one Redis; gives its settings, and its process by name."""
    with EmbeddedRedis(folder) as server:
        yield RedisSettings(url=server.url), {"redis": server.pid}


@contextmanager
def running_clicks(
    folder: Path, tree: Path | None, *, trends: bool, redis_of: RunningRedis = running_redis
) -> Iterator[ClickStack]:
    """Run the processes with the code in `tree`, None for the code that runs this."""
    port = free_port()
    with ExitStack() as ending:
        redis, pids = ending.enter_context(redis_of(folder / "redis"))
        log = LogSettings(max_backlog=10**6)
        items = _put_items(redis)
        environment = {
            "NEXTCLICK_REDIS__URL": redis.url,
            **_beyond_one(redis),
            "NEXTCLICK_ARTIFACTS": str(ARTIFACTS),
            "NEXTCLICK_LOG__MAX_BACKLOG": str(log.max_backlog),
            "NEXTCLICK_GATEWAY__PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        commands = {
            "gateway": ["gateway"],
            "sessions": ["bytewax.run", "flows.sessions:flow"],
            "trends": ["bytewax.run", "flows.trends:flow", *prepare_recovery(folder / "recovery")],
        }
        if not trends:
            del commands["trends"]
        processes = []
        for name, command in commands.items():
            started = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=tree, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
            )
            ending.callback(_end, started)
            processes.append(started)
            pids[name] = started.pid
        _wait_until_ready(port, processes)
        yield ClickStack(redis, log, port, pids, items)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _put_items(redis: RedisSettings) -> list[str]:
    """Fill the catalogue table with the synthetic shop, as the items flow would."""
    items, tower = list(default_shop().items), load_tower(str(ARTIFACTS))
    assert tower is not None
    vectors, _ = tower.embed([item_id for item_id, _ in items], [item for _, item in items])
    table = TableWriter(redis, CATALOGUE)
    rows = {
        item_key(item_id).to_bytes(8, "little"): encode_row(
            CatalogueRow(item_id, item, item.stock or 0, 1000, tower.version, vector.astype("<f4").tobytes())
        )
        for (item_id, item), vector in zip(items, vectors, strict=True)
    }
    table.commit(rows)
    table.close()
    return [item_id for item_id, _ in items]


def _beyond_one(redis: RedisSettings) -> dict[str, str]:
    """Return what tells of a cluster; of one Redis nothing, as a tree of before knows no such settings."""
    if redis.kind == "single" and not redis.wait_replicas:
        return {}
    return {
        "NEXTCLICK_REDIS__KIND": redis.kind,
        "NEXTCLICK_REDIS__NODES": ",".join(redis.nodes),
        "NEXTCLICK_REDIS__WAIT_REPLICAS": str(redis.wait_replicas),
    }


def _wait_until_ready(port: int, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        if ended := [process.args for process in processes if process.poll() is not None]:
            raise RuntimeError(f"expected every process to run, {ended} ended: its error stands above")
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"expected the gateway to be ready within {GIVE_UP_S:g} s")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
