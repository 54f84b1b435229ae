"""What rows of the trends cost Redis, a relay and the gateway processes of one machine, with a relay and without it.

    python -m nextclick.bench.relay [--followers 2,8] [--rows 40000] [--rate 20000] [--turns 3]

Followers are processes that read rows and take them into a gateway's arrays, as gateways do, and nothing else. Full
rows are written at a steady rate, in turns with and without. Processor time is the operating system's accounting;
bytes are Redis's own count.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from gateway.replicas import into_trends
from nextclick.bench.plan_rows import SETTLE_S, TOGETHER, cpu_s, full_columns, full_trend, running_relay
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from state.async_tables import AsyncTableReader
from state.change_arrays import ChangeArrays
from state.client import connect
from state.embedded import EmbeddedRedis
from state.tables import TableWriter

BLOCK_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds a row of Redis, of the relay, and of a follower; bytes a row that Redis sent."""

    redis: float
    relay: float
    follower: float
    sent: float


async def follow(redis: RedisSettings, relay: str, rows: int) -> float:
    """Say `ready` on stdout, follow so many rows into a gateway's arrays; return the processor seconds of that."""
    take, reader = into_trends(full_columns()), AsyncTableReader(redis, TRENDS, relay)
    place = await reader.begin()
    end = place + rows
    console.print("ready")
    began = time.process_time()
    while place < end:
        changes = await reader.arrays(place, BLOCK_MS)
        if not len(changes):
            continue
        assert isinstance(changes, ChangeArrays)
        take(changes)
        place = changes.number + len(changes)
    return time.process_time() - began


def measured(folder: Path, followers: int, rows: int, rate: float, *, by_relay: bool) -> Spent:
    """Return what one run spent."""
    server = EmbeddedRedis(folder)
    server.start()
    try:
        assert server.process is not None
        redis, path = RedisSettings(url=server.url), str(folder / "relay.sock") if by_relay else ""
        with running_relay(redis, path) if by_relay else nullcontext(None) as relay, closing(connect(redis)) as asked:
            reading = [started_follower(redis, path, rows) for _ in range(followers)]
            for one in reading:
                assert one.stdout is not None
                assert one.stdout.readline() == b"ready\n"
            time.sleep(SETTLE_S)
            pids = [server.process.pid, *([relay] if relay else [])]
            before, sent = [cpu_s(pid) for pid in pids], int(asked.info("stats")["total_net_output_bytes"])
            write(redis, rows, rate)
            spent = [float(one.communicate()[0]) for one in reading]
            after, sent = [cpu_s(pid) for pid in pids], int(asked.info("stats")["total_net_output_bytes"]) - sent
    finally:
        server.stop()
    used = [1e6 * (later - earlier) / rows for earlier, later in zip(before, after, strict=True)]
    return Spent(used[0], used[1] if by_relay else 0.0, 1e6 * statistics.mean(spent) / rows, sent / rows)


def write(redis: RedisSettings, rows: int, rate: float) -> None:
    """Write full rows, `rate` a second, so many together as the trends flow does."""
    row, began = full_trend(), time.monotonic()
    with closing(TableWriter(redis, TRENDS)) as table:
        for start in range(0, rows, TOGETHER):
            time.sleep(max(0.0, began + start / rate - time.monotonic()))
            table.commit({number.to_bytes(8, "little"): row for number in range(start, start + TOGETHER)})


def started_follower(redis: RedisSettings, path: str, rows: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nextclick.bench.relay", "--follow", redis.url, path, "--rows", str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def figures(counts: Sequence[int], rows: int, rate: float, turns: int) -> list[BenchRow]:
    """Return medians over the turns; direct and by relay are measured in turns."""
    found: list[BenchRow] = []
    told: dict[int, float] = {}
    for count in counts:
        runs: dict[bool, list[Spent]] = {False: [], True: []}
        for _ in range(turns):
            for by_relay, some in runs.items():
                with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name:
                    some.append(measured(Path(name), count, rows, rate, by_relay=by_relay))
        for by_relay, some in runs.items():
            how = f"{count} followers, {'by a relay' if by_relay else 'from Redis'}"
            parts = {part: statistics.median(getattr(run, part) for run in some) for part in Spent.__slots__}
            found += [
                BenchRow(f"{how}: Redis", parts["redis"], "us a row"),
                *([BenchRow(f"{how}: relay", parts["relay"], "us a row")] if by_relay else []),
                BenchRow(f"{how}: a follower", parts["follower"], "us a row"),
                BenchRow(f"{how}: sent by Redis", parts["sent"], "bytes a row"),
            ]
            if by_relay:
                told[count] = parts["relay"]
    if len(told) > 1:
        few, many = min(told), max(told)
        slope = (told[many] - told[few]) / (many - few)
        found.append(BenchRow("relay: a row told to one follower more", slope, "us a row"))
        found.append(BenchRow("relay: a row read, told to nobody", told[few] - few * slope, "us a row"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", default="2,8", help="how many, with commas between them")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rate", type=float, default=20_000.0, help="rows written a second")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--follow", nargs=2, metavar=("URL", "SOCKET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow is not None:
        url, path = options.follow
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            console.print(runner.run(follow(RedisSettings(url=url), path, options.rows)))
        return
    expect_bench("relay")
    counts = [int(word) for word in options.followers.split(",")]
    asked = f"--followers {options.followers} --rows {options.rows} --rate {options.rate:g} --turns {options.turns}"
    rows = figures(counts, options.rows, options.rate, options.turns)
    finish("relay", rows, f"make bench-relay ARGS='{asked}'")


if __name__ == "__main__":
    main()
