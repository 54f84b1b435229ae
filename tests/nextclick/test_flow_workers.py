"""Several processes of one flow: stopped together, started again together, and more or fewer of them lose nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.codec import decode_trend
from contracts.ids import item_key
from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from state.sessions import SessionStore
from state.tables import TableReader
from tests.flows.test_trends_flow import LOG, append
from tests.processes import ROOT, alive, descendants_of, wait_for

pytestmark = pytest.mark.slow


@contextmanager
def flow(redis: RedisSettings, *arguments: str, ends: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run `nextclick flow`; asked to stop at the end, as a container is."""
    ours = {"NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_REDIS__PREFIX": redis.prefix}
    more = {"NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions), "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "100"}
    command = [sys.executable, "-m", "nextclick", "flow", *arguments]
    process = subprocess.Popen(command, env={**os.environ, **ours, **more}, cwd=ROOT)
    try:
        yield process
        process.terminate()
        assert process.wait(30) == ends
    finally:
        process.kill()
        process.wait()


def workers_of(process: subprocess.Popen[bytes]) -> set[int]:
    return {pid for pid in descendants_of(process.pid) if b"flows." in Path(f"/proc/{pid}/cmdline").read_bytes()}


def applied(redis: RedisSettings) -> int:
    store = SessionStore(redis, idle_gap_ms=1_800_000)
    try:
        return sum(store.progress(partition).counts.get("applied", 0) for partition in range(LOG.partitions))
    finally:
        store.close()


def clicks_of(redis: RedisSettings, item: str) -> int:
    reader = TableReader(redis, TRENDS)
    try:
        [row] = reader.get([item_key(item).to_bytes(8, "little")])
    finally:
        reader.close()
    return round(sum(decode_trend(row).origin_counts)) if row is not None else 0


def test_asked_to_stop_it_stops_all_its_processes(redis_settings: RedisSettings) -> None:
    append(redis_settings, 100)
    with flow(redis_settings, "sessions", "--workers", "3") as process:
        wait_for(lambda: applied(redis_settings) == 100)
        started = workers_of(process)
        assert len(started) == 3
    assert not any(map(alive, started))


def test_killed_it_takes_its_processes_along(redis_settings: RedisSettings) -> None:
    append(redis_settings, 100)
    with flow(redis_settings, "sessions", "--workers", "2", ends=-signal.SIGKILL) as process:
        wait_for(lambda: applied(redis_settings) == 100)
        started = workers_of(process)
        process.kill()
        wait_for(lambda: not any(map(alive, started)))


def test_a_killed_worker_is_started_again_alone_and_nothing_is_applied_twice(redis_settings: RedisSettings) -> None:
    append(redis_settings, 100)
    with flow(redis_settings, "sessions", "--workers", "2") as process:
        wait_for(lambda: applied(redis_settings) == 100)
        for round in range(1, 3):
            before = workers_of(process)
            killed = min(before)
            os.kill(killed, signal.SIGKILL)
            append(redis_settings, 100, first=100 * round)
            wait_for(lambda round=round: applied(redis_settings) == 100 * (round + 1))  # type: ignore[misc]
            wait_for(lambda: len(workers_of(process)) == 2)
            assert before & workers_of(process) == before - {killed}
    time.sleep(0.2)
    assert applied(redis_settings) == 300


def test_from_one_process_to_three_and_back_every_click_counts_once(
    redis_settings: RedisSettings, tmp_path: Path
) -> None:
    for round, workers in enumerate((1, 3, 1)):
        append(redis_settings, 100, first=100 * round)
        with (
            flow(redis_settings, "sessions", "--workers", str(workers)),
            flow(redis_settings, "trends", "--workers", str(workers), "--recovery", str(tmp_path)),
        ):
            wait_for(lambda round=round: applied(redis_settings) == 100 * (round + 1))  # type: ignore[misc]
            wait_for(lambda round=round: clicks_of(redis_settings, "a") == 50 * (round + 1))  # type: ignore[misc]
            wait_for(lambda round=round: clicks_of(redis_settings, "b") == 50 * (round + 1))  # type: ignore[misc]
    assert (clicks_of(redis_settings, "a"), clicks_of(redis_settings, "b")) == (150, 150)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["sessions", "--workers", "2"], 78, "NEXTCLICK_LOG__PARTITIONS"),
        (["sessions", "--recovery", "x"], 1, "--recovery is for the trends flow"),
        (["clicks"], 2, "'clicks'"),
    ],
)
def test_what_cannot_run_is_refused_at_once(arguments: list[str], status: int, said: str, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTCLICK_LOG__PARTITIONS": "none"}
    done = subprocess.run(
        [sys.executable, "-m", "nextclick", "flow", *arguments],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status
    assert said in done.stderr
