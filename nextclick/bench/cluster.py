"""A Redis Cluster of three primaries against one Redis, and what a failover loses.

    python -m nextclick.bench.cluster [--runs 3] [--seconds 8] [--failovers 5]

Two stacks (a gateway, a sessions flow, and one Redis, or three primaries) run side by side and are loaded in turns:
arrays of 500 clicks, single clicks, and recommendations, each at a steady rate. What counts is the processor time of
all processes, Redis's among them, as the operating system accounts it, without what they use while nothing comes, which
is told apart: a ratio for each load. Then appends with WAIT and without, and primaries that are killed under
acknowledged appends: how long until each partition takes writes again, and what is not there of what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from contracts.errors import LogUnavailable
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Position, Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader
from nextclick.bench.click_posts import post
from nextclick.bench.click_stack import ClickStack, running_clicks
from nextclick.bench.clicks import ARRAY, ARRAYS_A_SECOND, CONNECTIONS, SINGLES_A_SECOND, make_clicks, parted
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from state.loopback_cluster import Cluster, running_cluster

REQUESTS_A_SECOND: Final = 100.0
MOST_RATIO: Final = 1.15
MOST_BACK_S: Final = 10.0
PARTITIONS: Final = 8
EVENTS_AT_ONCE: Final = 20
EVENT_BYTES: Final = 500
"""Of an append while a primary is killed."""
_SETTLE_S: Final = 1.0
LOADS: Final = ("clicks in arrays", "clicks one by one", "recommendations")


@contextmanager
def three_primaries(folder: Path) -> Iterator[tuple[RedisSettings, dict[str, int]]]:
    """Run a cluster without replicas: one Redis has none either."""
    with running_cluster(folder, replicas=0) as cluster:
        pids = {f"redis {at}": node.pid for at, node in enumerate(cluster.nodes)}
        yield RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places), pids


class Side:
    """One of the two stacks, and what was sent to it."""

    def __init__(self, stack: ClickStack) -> None:
        self.stack, self._sent = stack, 0
        self.idle: dict[str, float] = {}

    def load(self, name: str, seconds: float) -> dict[str, float]:
        """Return processor microseconds a click or request, by process."""
        before, began = self.stack.cpu_s(), time.monotonic()
        things = {LOADS[0]: self._arrays, LOADS[1]: self._singles, LOADS[2]: self._requests}[name](seconds)
        time.sleep(max(0.0, began + seconds + _SETTLE_S - time.monotonic()))
        after = self.stack.cpu_s()
        lasted = time.monotonic() - began
        return {
            process: 1e6 * (after[process] - before[process] - self.idle.get(process, 0.0) * lasted) / things
            for process in after
        }

    def rest(self, seconds: float) -> float:
        """Look how much of a core each process uses while nothing comes; return the sum, in %."""
        before = self.stack.cpu_s()
        time.sleep(seconds)
        after = self.stack.cpu_s()
        self.idle = {process: (after[process] - before[process]) / seconds for process in after}
        return 100 * sum(self.idle.values())

    def _arrays(self, seconds: float) -> int:
        parts = parted(self._clicks(max(1, int(seconds * ARRAYS_A_SECOND)) * ARRAY), ARRAY)
        bodies = [b"[%b]" % b",".join(raw for _, raw in part) for part in parts]
        post(self.stack.port, bodies, ARRAYS_A_SECOND)
        self.stack.wait_for(self._sent)
        return len(bodies) * ARRAY

    def _singles(self, seconds: float) -> int:
        bodies = [raw for _, raw in self._clicks(max(1, int(seconds * SINGLES_A_SECOND)))]
        post(self.stack.port, bodies, SINGLES_A_SECOND, connections=CONNECTIONS)
        self.stack.wait_for(self._sent)
        return len(bodies)

    def _requests(self, seconds: float) -> int:
        sessions = [orjson.loads(raw)["session_id"] for _, raw in make_clicks(self.stack.items, 0, 1000)]
        bodies = [
            orjson.dumps({"session_id": sessions[n % 1000], "limit": 20})
            for n in range(max(1, int(seconds * REQUESTS_A_SECOND)))
        ]
        post(self.stack.port, bodies, REQUESTS_A_SECOND, connections=8, send=_recommended)
        return len(bodies)

    def _clicks(self, count: int) -> list[tuple[str, bytes]]:
        first, self._sent = self._sent, self._sent + count
        return list(make_clicks(self.stack.items, first, count))


def _recommended(connection: http.client.HTTPConnection, body: bytes) -> tuple[float, Position]:
    connection.request("POST", "/api/recommendations/homepage", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"expected a recommendation, got {answer.status} {said[:200]!r}")
    return time.monotonic(), Position(0, 0)


def compared(runs: int, seconds: float) -> list[BenchRow]:
    """Load both stacks in turns; return processor time of each, and the median of the ratios of neighbouring runs."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {"one": [], "three": []} for name in LOADS}
    with ExitStack() as open_, console.status("starting two stacks") as status:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="nextclick-bench-")))
        one = Side(open_.enter_context(running_clicks(folder / "one", None, trends=False)))
        clustered = running_clicks(folder / "three", None, trends=False, redis_of=three_primaries)
        sides = {"one": one, "three": Side(open_.enter_context(clustered))}
        for side in sides.values():
            for name in LOADS:
                side.load(name, 2.0)
        time.sleep(_SETTLE_S)
        idle = {which: side.rest(2 * seconds) for which, side in sides.items()}
        for run in range(runs):
            for name in LOADS:
                for which, side in list(sides.items())[:: 1 if run % 2 == 0 else -1]:
                    status.update(f"run {run + 1} of {runs}: {name}, {which}")
                    found[name][which].append(side.load(name, seconds))
    rows = [BenchRow(f"idle, {which}, all processes", share, "% of a core") for which, share in idle.items()]
    return rows + [row for name in LOADS for row in _rows_of(name, found[name])]


def _rows_of(name: str, found: dict[str, list[dict[str, float]]]) -> Iterator[BenchRow]:
    unit = "us/request" if name == "recommendations" else "us/click"
    totals = {which: [sum(run.values()) for run in runs] for which, runs in found.items()}
    for which, told in (("one", "one Redis"), ("three", "three primaries")):
        yield BenchRow(f"{name}, {told}, all processes", statistics.median(totals[which]), unit)
        of_redis = [sum(us for process, us in run.items() if process.startswith("redis")) for run in found[which]]
        yield BenchRow(f"{name}, {told}, Redis alone", statistics.median(of_redis), unit)
    ratios = [three / one for one, three in zip(totals["one"], totals["three"], strict=True)]
    yield BenchRow(f"{name}, three primaries to one Redis", statistics.median(ratios), "times", MOST_RATIO)


def what_wait_costs(seconds: float) -> list[BenchRow]:
    """Append one by one, each after the one before, to a cluster with two replicas a primary."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder,
        running_cluster(Path(folder), replicas=2) as it,
    ):
        for wait in (0, 1):
            took_ms = asyncio.run(_appended(_settings_of(it, f"w{wait}", wait), seconds))
            for q in (50, 99):
                name = f"append, {'one replica has it' if wait else 'no WAIT'}, p{q}"
                rows.append(BenchRow(name, float(np.percentile(took_ms, q)), "ms"))
    return rows


async def _appended(redis: RedisSettings, seconds: float) -> list[float]:
    writer, took, until = (
        RedisAsyncLogWriter(LogSettings(gather_ms=0), redis),
        list[float](),
        time.monotonic() + seconds,
    )
    await writer.append(Topic.CLICKS, [Record("s", b"{}")])
    while (began := time.monotonic()) < until:
        await writer.append(Topic.CLICKS, [Record(f"s{len(took)}", b'{"event_id":"e"}' * 20)])
        took.append(1000 * (time.monotonic() - began))
    await writer.close()
    return took


def failovers(count: int, wait: int) -> list[BenchRow]:
    """Kill a primary under appends, `count` times, each in a cluster of its own with a replica more than WAIT wants."""
    back, taken, lost = list[float](), 0, list[int]()
    with console.status("failovers") as status:
        for run in range(count):
            status.update(f"failover {run + 1} of {count}, WAIT {wait}")
            with (
                tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder,
                running_cluster(Path(folder), replicas=1 + wait) as cluster,
            ):
                redis = _settings_of(cluster, "f", wait)
                back_s, answered = asyncio.run(_killed(cluster, redis))
                back.append(back_s)
                taken += len(answered)
                lost.append(len(answered - _kept(redis)))
    told = f"failover, {f'WAIT {wait}' if wait else 'no WAIT'}"
    return [
        BenchRow(f"{told}, writes back, slowest of {count}", max(back), "s", MOST_BACK_S),
        BenchRow(f"{told}, acknowledged events", taken, "events"),
        BenchRow(f"{told}, of them lost", sum(lost), "events", 0 if wait else None),
        BenchRow(f"{told}, most lost at once", max(lost), "events"),
    ]


async def _killed(cluster: Cluster, redis: RedisSettings) -> tuple[float, set[bytes]]:
    """Return the seconds until the victim's partitions take writes again, and all values that were acknowledged."""
    writer, answered, numbers = RedisAsyncLogWriter(_LOG, redis), set[bytes](), iter(range(10**9))
    victim = cluster.owner_of(Keys(redis.prefix).log("clicks", 0))
    ours = [p for p in range(PARTITIONS) if cluster.owner_of(Keys(redis.prefix).log("clicks", p)) is victim]
    done = asyncio.Event()

    async def append() -> None:
        while not done.is_set():
            values = [b"%d" % next(numbers) for _ in range(EVENTS_AT_ONCE)]
            try:
                await writer.append(
                    Topic.CLICKS, [Record(f"s{value.decode()}", value + b" " * EVENT_BYTES) for value in values]
                )
                answered.update(values)
            except (LogUnavailable, TimeoutError):
                await asyncio.sleep(0.02)

    async def kill() -> float:
        await asyncio.sleep(1.0)
        victim.kill()
        began = time.monotonic()
        for partition in ours:
            await _until_takes(writer, partition)
        back_s = time.monotonic() - began
        await asyncio.sleep(0.5)
        done.set()
        return back_s

    appending = asyncio.gather(*(append() for _ in range(16)))
    back_s = await kill()
    await appending
    await writer.close()
    return back_s, answered


_LOG: Final = LogSettings(partitions=PARTITIONS, gather_ms=0, kept_records=10**7, kept_bytes=10**9)


async def _until_takes(writer: RedisAsyncLogWriter, partition: int) -> None:
    key = next(f"k{n}" for n in range(10_000) if partition_of(f"k{n}", PARTITIONS) == partition)
    while True:
        try:
            await writer.append(Topic.CLICKS, [Record(key, b"probe")])
        except (LogUnavailable, TimeoutError):
            await asyncio.sleep(0.02)
        else:
            return


def _kept(redis: RedisSettings) -> set[bytes]:
    reader, kept = RedisLogReader(redis, Topic.CLICKS, range(PARTITIONS), "sessions"), set[bytes]()
    while batches := reader.poll(10_000, 0.0):
        kept |= {message.value.rstrip() for batch in batches for message in batch.messages}
    reader.close()
    return kept


def _settings_of(cluster: Cluster, prefix: str, wait: int) -> RedisSettings:
    return RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, prefix=prefix, wait_replicas=wait)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--failovers", type=int, default=5, help="with WAIT, and as many without")
    options = parser.parse_args(given)
    expect_bench("cluster")
    rows = compared(options.runs, options.seconds) if options.runs else []
    rows += what_wait_costs(options.seconds)
    for wait in (0, 1):
        rows += failovers(options.failovers, wait) if options.failovers else []
    told = f"--runs {options.runs} --seconds {options.seconds:g} --failovers {options.failovers}"
    finish("cluster", rows, f"make bench-cluster ARGS='{told}'")


if __name__ == "__main__":
    main()
