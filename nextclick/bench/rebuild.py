"""How long a second region takes to be as the first: the log copied into it, and its state made again from the copy.

    python -m nextclick.bench.rebuild [--events 200000]

Two Redis on this machine. The first holds a log of pages and clicks, as many of each. `nextclick mirror`'s code copies
it; then every flow starts on the copy with no state, all at once. Writes build/bench/rebuild.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from contracts.settings import LogSettings, RedisSettings
from contracts.stopping import Stopping
from eventlog.contract import Topic
from eventlog.mirror_targets import name_of, open_target
from eventlog.mirroring import LogMirror
from eventlog.open_log import open_writer
from nextclick.bench.attribution import Traffic
from nextclick.bench.profiles import cpu_us, running
from nextclick.bench.report import BenchRow, expect_bench, finish
from state.embedded import EmbeddedRedis
from state.read_progress import READERS, read_told

PARTITIONS: Final = 8
_LARGE: Final = 4_000_000_000
LOG: Final = LogSettings(
    partitions=PARTITIONS,
    kept_records=10_000_000,
    kept_bytes=_LARGE,
    max_backlog=10_000_000,
    max_backlog_bytes=_LARGE,
    wait_bytes=_LARGE,
)
FLOWS: Final = ("sessions", "trends", "profiles", "attribution")
_APPEND: Final = 500
_GIVE_UP_S: Final = 1800.0
_MILLION: Final = 1e6


def _filled(redis: RedisSettings, events: int) -> dict[Topic, int]:
    traffic, writer = Traffic(), open_writer(LOG, redis)
    for _ in range(0, events, 2 * _APPEND):
        writer.append(Topic.IMPRESSIONS, [traffic.page() for _ in range(_APPEND)])
        writer.append(Topic.CLICKS, [traffic.click() for _ in range(_APPEND)])
    writer.close()
    each = -(-events // (2 * _APPEND)) * _APPEND
    return {Topic.CLICKS: each, Topic.IMPRESSIONS: each, Topic.ITEMS: 0}


def _copied(source: RedisSettings, target: RedisSettings, events: int) -> Iterator[BenchRow]:
    origin = LOG, source
    copying = LogMirror(origin, partial(open_target, LOG, target, name_of(*origin)))
    before, began = time.process_time(), time.monotonic()
    copying.run(Stopping(), until_copied=True)
    took_s, spent_s = time.monotonic() - began, time.process_time() - before
    yield BenchRow("mirror: a million events", took_s / events * _MILLION / 60, "min")
    yield BenchRow("mirror: records copied", events / took_s, "a second")
    yield BenchRow("mirror: processor time by record", spent_s / events * _MILLION, "us")


def _rebuilt(redis: RedisSettings, ends: dict[Topic, int]) -> Iterator[BenchRow]:
    events = sum(ends.values())
    environment = {**os.environ, "NEXTCLICK_REDIS__URL": redis.url, "NEXTCLICK_REDIS__TIMEOUT_MS": "60000"}
    wanted = {(flow, topic): ends[Topic(topic)] for flow, topic in READERS if flow in FLOWS}
    done_s: dict[str, float] = {}
    with ExitStack() as stack:
        began = time.monotonic()
        pids = {flow: stack.enter_context(running(flow, environment)) for flow in FLOWS}
        while len(done_s) < len(FLOWS):
            now_s = time.monotonic() - began
            if now_s > _GIVE_UP_S:
                raise RuntimeError(
                    f"after {_GIVE_UP_S:.0f} s only {', '.join(done_s) or 'no flow'} had read everything"
                )
            told = read_told(redis).reached
            for flow in FLOWS:
                mine = {key: end for key, end in wanted.items() if key[0] == flow}
                read = {key: sum(told.get((*key, at), 0) for at in range(PARTITIONS)) for key in mine}
                if flow not in done_s and all(read[key] >= end for key, end in mine.items()):
                    done_s[flow] = now_s
            time.sleep(0.05)
        for flow, pid in pids.items():
            yield BenchRow(f"{flow} flow: processor time by event", cpu_us(pid) / events, "us")
            yield BenchRow(
                f"{flow} flow: had read a million events after", done_s[flow] / events * _MILLION / 60, "min"
            )
    yield BenchRow(
        "everything: state of a million events, start included", max(done_s.values()) / events * _MILLION / 60, "min"
    )


def measured(events: int) -> Iterator[BenchRow]:
    """Yield what the copy takes, and what the state takes."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for region in "ab":
            (folder / region).mkdir()
        first, second = (stack.enter_context(EmbeddedRedis(folder / region)) for region in "ab")
        source, target = (RedisSettings(url=one.url, timeout_ms=60_000) for one in (first, second))
        ends = _filled(source, events)
        yield from _copied(source, target, sum(ends.values()))
        yield from _rebuilt(target, ends)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.rebuild", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    options = parser.parse_args()
    expect_bench("rebuild")
    finish("rebuild", list(measured(options.events)), f"make bench-rebuild ARGS='--events {options.events}'")


if __name__ == "__main__":
    main()
