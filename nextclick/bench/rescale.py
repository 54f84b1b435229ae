"""What it costs to change the number of a flow's machines while clicks come: how long a click waits, what is lost.

    make bench-rescale

A machine is a `nextclick flow` of its own, on loopback addresses. A click comes every 5 ms. The pause is the longest
time that any of them waits, by partition, from its append to its session; of trends, to its item's row. What comes of
it is compared with a plain reading of the log. No models are loaded.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import orjson

from contracts.codec import decode_trend
from contracts.ids import item_key
from contracts.keys import TRENDS, Keys
from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from replay.reference.compare import Reference, compare
from replay.reference.log import read_topic
from state.client import connect
from state.embedded import EmbeddedRedis
from state.flow_offsets import stored_offsets
from state.ports import free_port
from state.tables import TableReader

TARGET_S = 15.0
EVERY_S = 0.005
WARM_S = 20.0
"""So long new machines of the trends flow have to load what they need, before the old ones stop."""
ITEMS = tuple(f"item-{n}" for n in range(8))
_GIVE_UP_S = 180.0
_FLOW = [sys.executable, "-P", "-m", "nextclick", "flow"]


class Machine:
    """A command and the processes that it starts."""

    def __init__(self, settings: ServiceSettings, *arguments: str) -> None:
        environment = {
            "NEXTCLICK_REDIS__URL": settings.redis.url,
            "NEXTCLICK_REDIS__PREFIX": settings.redis.prefix,
            "NEXTCLICK_LOG__MAX_BACKLOG": str(settings.log.max_backlog),
            "NEXTCLICK_LOG__KEPT_RECORDS": str(settings.log.kept_records),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*_FLOW, *arguments], env={**os.environ, **environment}, **quiet)  # type: ignore[call-overload]

    def lose(self) -> None:
        """Kill it whole; nothing of it says a last word."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        pids = [self._process.pid, *(int(pid) for task in tasks for pid in task.read_text().split())]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Ask it to stop."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        self.end()
        self._process.wait(30)


class Clicks:
    """Clicks that come until it is closed, and how long the oldest of each partition has waited at most."""

    def __init__(self, settings: ServiceSettings, reached: Callable[[], dict[int, int]]) -> None:
        """`reached` returns how many clicks of each partition are where they belong."""
        self._settings, self._reached = settings, reached
        self._at: dict[int, list[float]] = {p: [] for p in range(settings.log.partitions)}
        self._stopped = threading.Event()
        self.longest_s = 0.0
        self._threads = [threading.Thread(target=run) for run in (self._append, self._look)]
        for thread in self._threads:
            thread.start()

    @property
    def ends(self) -> dict[int, int]:
        return {partition: len(times) for partition, times in self._at.items()}

    def _append(self) -> None:
        number = 0
        with closing(open_writer(self._settings.log, self._settings.redis)) as writer:
            while not self._stopped.wait(EVERY_S):
                [position] = writer.append(Topic.CLICKS, [click(number)])
                self._at[position.partition].append(time.monotonic())
                number += 1

    def _look(self) -> None:
        while not self._stopped.wait(0.02):
            reached, now = self._reached(), time.monotonic()
            waiting = [
                now - times[reached.get(p, 0)] for p, times in self._at.items() if len(times) > reached.get(p, 0)
            ]
            self.longest_s = max([self.longest_s, *waiting])

    def settle(self) -> float:
        """Return when all is where it belongs that was appended before: the longest wait so far, which begins anew."""
        ends, until = self.ends, time.monotonic() + _GIVE_UP_S
        while any(self._reached().get(partition, 0) < end for partition, end in ends.items()):
            if time.monotonic() > until:
                raise TimeoutError(f"expected all clicks to be applied within {_GIVE_UP_S:g} s")
            time.sleep(0.02)
        longest, self.longest_s = self.longest_s, 0.0
        return longest

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def click(number: int) -> Record:
    session = f"s-{number % 997}"
    event = {"v": 1, "event_id": f"e{number}", "type": "view", "session_id": session, "item_id": ITEMS[number % 8]}
    return Record(session, orjson.dumps(event | {"ts": time.time_ns() // 1_000_000}))


def members(settings: ServiceSettings, flow: str) -> int:
    with closing(connect(settings.redis)) as redis:
        return int(redis.zcard(Keys(settings.redis.prefix).flow_members(flow)))


def wait_for_members(settings: ServiceSettings, flow: str, count: int) -> None:
    until = time.monotonic() + _GIVE_UP_S
    while members(settings, flow) != count:
        if time.monotonic() > until:
            raise TimeoutError(f"expected {count} processes of the {flow} flow within {_GIVE_UP_S:g} s")
        time.sleep(0.02)


def shared(settings: ServiceSettings, flow: str) -> list[BenchRow]:
    """Rescale a flow that shares its partitions."""

    def reached() -> dict[int, int]:
        stored = stored_offsets(settings.redis, flow, settings.log.partitions)
        return {p: n for (topic, p), n in stored.items() if topic == "clicks"}

    rows = []
    with ExitStack() as ending:
        clicks = ending.enter_context(closing(Clicks(settings, reached)))

        def step(name: str, count: int) -> None:
            wait_for_members(settings, flow, count)
            time.sleep(3)  # everybody has looked
            rows.append(BenchRow(f"{flow}: {name}, longest wait of a click", clicks.settle(), "s", TARGET_S))

        def start() -> Machine:
            machine = Machine(settings, flow)
            ending.callback(machine.stop)
            return machine

        first = start()
        wait_for_members(settings, flow, 1)
        clicks.settle()
        clicks.settle()
        second, third = start(), start()
        step("from 1 to 3", 3)
        third.stop()
        step("from 3 to 2", 2)
        second.lose()
        step("a machine is lost", 1)
        start()
        step("it comes back", 2)
        first.stop()
        step("the first is stopped", 1)
        clicks.close()
        clicks.settle()
    return rows


def trends(settings: ServiceSettings, folder: Path) -> list[BenchRow]:
    """Rescale the trends flow as the docs say: the new machines start, but for the first, and wait for it; the old ones
    stop; the first starts. So trends stand still for the start of one process.
    """
    rows, counts, most = [], counts_of(settings), 0

    def counted() -> dict[int, int]:
        """A recovered flow writes rows of its last snapshot before it has counted on: a click waits but once."""
        nonlocal most
        most = max(most, counts()[0])
        return {0: most}

    with ExitStack() as ending:
        clicks = ending.enter_context(closing(Clicks(settings, counted)))
        running: list[Machine] = []
        for was, count in ((0, 1), (1, 3), (3, 2)):
            port = free_port()
            addresses = [f"--address=127.0.0.{2 + number}:{port}" for number in range(count)]

            def start(number: int, addresses: list[str] = addresses) -> Machine:
                recovery = f"--recovery={folder / str(number)}"
                machine = Machine(settings, "trends", f"--index={number}", recovery, *addresses)
                ending.callback(machine.stop)
                return machine

            new = [start(number) for number in range(1, count)]
            time.sleep(WARM_S if new else 0)
            clicks.longest_s = 0.0
            for machine in running:
                machine.end()
            for machine in running:
                machine.stop()
            running = [start(0), *new]
            time.sleep(3)
            longest = clicks.settle()
            time.sleep(3)
            if was:
                rows.append(BenchRow(f"trends: from {was} to {count}, longest wait of a click", longest, "s", TARGET_S))
        clicks.close()
        clicks.settle()
        time.sleep(1)  # for what may be counted twice
    return rows


def counts_of(settings: ServiceSettings) -> Callable[[], dict[int, int]]:
    """Return what tells how many clicks of all the rows of the trends table have; by partition 0 alone."""
    reader = TableReader(settings.redis, TRENDS)
    keys = [item_key(item).to_bytes(8, "little") for item in ITEMS]

    def counted() -> dict[int, int]:
        return {0: sum(round(sum(decode_trend(row).origin_counts)) for row in reader.get(keys) if row is not None)}

    return counted


def correct(settings: ServiceSettings, flow: str) -> list[BenchRow]:
    """Return what of the log was lost or counted twice."""
    if flow == "trends":
        logged = len(read_topic(settings, Topic.CLICKS))
        counted = counts_of(settings)()[0]
        lost, twice = max(0, logged - counted), max(0, counted - logged)
    else:
        found = compare(Reference.of(settings), settings, trends=False, states=False)
        if found.said and not (found.lost or found.twice):
            raise SystemExit(f"expected sessions as the log has them, got {found.said[:5]}")
        lost, twice = found.lost, found.twice
    return [BenchRow(f"{flow}: lost", lost, "events", 0), BenchRow(f"{flow}: twice", twice, "events", 0)]


def throughput(settings: ServiceSettings, processes: int, backlog: int) -> BenchRow:
    """Return how many clicks a second so many processes of the sessions flow take from a backlog."""
    machine = Machine(settings, "sessions", f"--workers={processes}")
    try:
        wait_for_members(settings, "sessions", processes)
        time.sleep(2)
        records = [click(number) for number in range(backlog)]
        began = time.monotonic()
        with closing(open_writer(settings.log, settings.redis)) as writer:
            for start in range(0, backlog, 5000):
                writer.append(Topic.CLICKS, records[start : start + 5000])
        while sum(stored_offsets(settings.redis, "sessions", settings.log.partitions).values()) < backlog:
            if time.monotonic() - began > _GIVE_UP_S:
                raise TimeoutError(f"expected {backlog} clicks applied within {_GIVE_UP_S:g} s")
            time.sleep(0.01)
        return BenchRow(
            f"sessions: clicks of a backlog, {processes} processes", backlog / (time.monotonic() - began), "1/s"
        )
    finally:
        machine.stop()


@contextmanager
def deployment(url: str, partitions: int) -> Iterator[ServiceSettings]:
    log = LogSettings(partitions=partitions, max_backlog=10**6, kept_records=10**6)
    yield ServiceSettings(redis=RedisSettings(url=url, prefix=f"b{uuid4().hex[:8]}"), log=log)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=60_000)
    arguments = parser.parse_args()
    expect_bench("rescale")
    rows: list[BenchRow] = []
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder) / "redis")
        server.start()
        try:
            with deployment(server.url, 8) as settings, console.status("sessions: 1, 3, 2, one lost, back"):
                rows += [*shared(settings, "sessions"), *correct(settings, "sessions")]
            with deployment(server.url, 1) as settings, console.status("trends: 1, 3, 2"):
                rows += trends(settings, Path(folder) / "trends")
                rows += correct(settings, "trends")
            for processes in (1, 2):
                with deployment(server.url, 8) as settings, console.status(f"sessions: {processes} processes"):
                    rows.append(throughput(settings, processes, arguments.backlog))
        finally:
            server.stop()
    finish("rescale", rows, "make bench-rescale")


if __name__ == "__main__":
    main()
