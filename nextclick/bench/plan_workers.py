"""A backlog of clicks, applied by one worker of the sessions flow and by two: does a click cost the same?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from nextclick.bench.accounting import parse_stat
from nextclick.bench.click_stack import ClickStack
from nextclick.bench.clicks import make_clicks, parted
from nextclick.bench.report import BenchRow
from nextclick.plan.predicted import WORKERS, worker_name
from nextclick.stack.shop_models import ARTIFACTS
from state.embedded import EmbeddedRedis

ITEMS: Final = 6_000
WARM_UP: Final = 5_000


def worker_rows(clicks: int) -> list[BenchRow]:
    """Return processor time a click of all workers together, and clicks a second as the clock had them."""
    rows: list[BenchRow] = []
    for workers in WORKERS:
        spent_us, rate = _applied_by(workers, clicks)
        rows.append(BenchRow(worker_name(workers), spent_us, "us a click"))
        rows.append(BenchRow(worker_name(workers).replace("processor time", "rate"), rate, "clicks/s"))
    return rows


def _applied_by(workers: int, clicks: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name:
        server = EmbeddedRedis(Path(name))
        server.start()
        try:
            redis, log = RedisSettings(url=server.url), LogSettings(max_backlog=10**6)
            with running_workers(redis, workers) as pid:
                return _backlog(ClickStack(redis, log, 0, {"flow": pid}, []), workers, clicks)
        finally:
            server.stop()


@contextmanager
def running_workers(redis: RedisSettings, workers: int) -> Iterator[int]:
    """Run the sessions flow in so many processes; yields the one that keeps them."""
    command = [sys.executable, "-m", "nextclick", "flow", "sessions", "--workers", str(workers)]
    environment = {"NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_ARTIFACTS": str(ARTIFACTS)}
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


def _backlog(stack: ClickStack, workers: int, clicks: int) -> tuple[float, float]:
    items = [f"item-{number}" for number in range(ITEMS)]
    _append(stack, list(make_clicks(items, 0, WARM_UP)))
    stack.wait_for(WARM_UP)
    pids = children(stack.processes["flow"])
    if len(pids) != workers:
        raise RuntimeError(f"expected {workers} workers, got {len(pids)} processes")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    _append(stack, list(make_clicks(items, WARM_UP, clicks)))
    before, began = _cpu_s(pids), time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    stack.wait_for(WARM_UP + clicks)
    took_s = time.monotonic() - began
    return 1e6 * (_cpu_s(pids) - before) / clicks, clicks / took_s


def _append(stack: ClickStack, made: Sequence[tuple[str, bytes]]) -> None:
    writer = open_writer(stack.log, stack.redis)
    for part in parted(made, 5000):
        writer.append(Topic.CLICKS, [Record(session, raw) for session, raw in part])
    writer.close()


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(parse_stat(Path(f"/proc/{pid}/stat").read_text()).cpu_s for pid in pids)
