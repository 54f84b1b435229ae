"""How long a backup of a Redis Cluster takes, and putting it back.

    python -m nextclick.bench.restore [--sessions 100000] [--runs 3]

Sessions of a full window (a kilobyte each, with nothing in it to compress) are written to a cluster of three primaries,
backed up, and restored over what is there: each time into a new folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from contracts.ids import partition_of
from contracts.sessions import CLICK, Session
from contracts.settings import RedisSettings
from nextclick.bench.accounting import parse_stat
from nextclick.bench.report import BenchRow, console, expect_bench, finish, medians
from nextclick.stack.backup.making import make_backup
from nextclick.stack.backup.restoring import restore_backup
from nextclick.stack.settings import StackOptions, StackSettings
from state.client import connect
from state.key_copies import drop_keys, held_by
from state.loopback_cluster import running_cluster
from state.sessions import SessionStore

AT_ONCE: Final = 1000
CLICKS: Final = 20
DIMENSIONS: Final = 128
IDLE_GAP_MS: Final = 3_600_000
MOST_S: Final = 8.7
"""A third of the 26 s that 100,000 sessions took when keys were copied one by one."""
MB: Final = 1e6


def fill(settings: StackSettings, sessions: int) -> None:
    """Write open sessions into each partition."""
    store, random = SessionStore(settings.redis, idle_gap_ms=IDLE_GAP_MS), np.random.default_rng(5)
    partitions = settings.log.partitions
    offsets, now_ms = [0] * partitions, int(time.time() * 1000)
    waiting: list[list[Session]] = [[] for _ in range(partitions)]
    for number in range(sessions):
        one = _session(f"session-{number:08d}", now_ms, random)
        partition = partition_of(one.session_id, partitions)
        waiting[partition].append(one)
        if len(waiting[partition]) == AT_ONCE or number >= sessions - 1:
            for at in [partition] if number < sessions - 1 else range(partitions):
                start, offsets[at] = offsets[at], offsets[at] + len(waiting[at])
                store.commit(at, start=start, next=offsets[at], watermark_ms=1, sessions=waiting[at], counts={})
                waiting[at] = []
    store.close()


def _session(name: str, now_ms: int, random: np.random.Generator) -> Session:
    window = np.zeros(CLICKS, CLICK)
    for field in CLICK.names or ():
        window[field] = random.integers(0, 100, CLICKS)
    vector = random.standard_normal(DIMENSIONS).astype(np.float32)
    return Session(name, "", now_ms, now_ms, CLICKS, 41, window, vector, 5)


def timed(settings: StackSettings, folder: Path, primaries: Sequence[int]) -> list[BenchRow]:
    """Back up and restore once. `primaries`: process ids."""
    file, began = folder / "backup", time.monotonic()
    manifest = make_backup(settings, file, now_ms=0, environment={}, named_files={})
    backed_s = time.monotonic() - began
    keys, over = restored(settings, folder / "over", file, primaries)
    with closing(connect(settings.redis)) as client:
        for held in held_by(client, settings.redis.prefix):
            drop_keys(client, held.there)
    keys, anew = restored(settings, folder / "anew", file, primaries)
    return [
        BenchRow("keys", keys, ""),
        BenchRow("the backup's file", file.stat().st_size / MB, "MB"),
        BenchRow("backup", backed_s, "s"),
        BenchRow("of that, writes held back", manifest.redis.paused_ms / 1000, "s"),
        *over,
        *anew,
    ]


def restored(settings: StackSettings, to: Path, file: Path, primaries: Sequence[int]) -> tuple[int, list[BenchRow]]:
    """Restore into a new folder, and the keys into the cluster; returns their number, and what it took."""
    new = settings.model_copy(update={"stack": StackOptions(port=0, folder=to)})
    steps: list[tuple[str, float]] = []
    ours, theirs, began = _own_cpu_s(), _cpu_s(primaries), time.monotonic()
    found = restore_backup(
        new, file, now="n", replace=True, progress=lambda step: steps.append((step, time.monotonic()))
    )
    ended = time.monotonic()
    ours, theirs = _own_cpu_s() - ours, _cpu_s(primaries) - theirs
    told = zip(steps, [*(at for _, at in steps[1:]), ended], strict=True)
    name = {"over": "over what is there", "anew": "into an empty cluster"}[to.name]
    return found.keys, [
        BenchRow(f"restore {name}", ended - began, "s", MOST_S * found.keys / 100_000),
        *(BenchRow(f"{name}: {step}", until - at, "s") for (step, at), until in told),
        BenchRow(f"{name}: processor time of the command and its Redis", ours, "s"),
        BenchRow(f"{name}: processor time of the primaries", theirs, "s"),
    ]


def _own_cpu_s() -> float:
    """Return the processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(parse_stat(Path(f"/proc/{pid}/stat").read_text()).cpu_s for pid in pids)


def measure(sessions: int, runs: int) -> list[BenchRow]:
    found: list[list[BenchRow]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-restore-") as place,
        running_cluster(Path(place) / "cluster", replicas=0) as cluster,
    ):
        own = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=10_000, prefix="bench")
        settings = StackSettings(redis=own, stack=StackOptions(port=0, folder=Path(place) / "shop"))
        fill(settings, sessions)
        for run in range(runs):
            (folder := Path(place) / f"run-{run}").mkdir()
            found.append(timed(settings, folder, [node.pid for node in cluster.nodes]))
            console.print(f"run {run + 1}: {', '.join(f'{row.name} {row.value:.1f} s' for row in found[-1][4:])}")
    return medians(found)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args(argv)
    expect_bench("restore")
    rows = measure(asked.sessions, asked.runs)
    finish("restore", rows, f"python -m nextclick.bench.restore --sessions {asked.sessions} --runs {asked.runs}")


if __name__ == "__main__":
    main()
