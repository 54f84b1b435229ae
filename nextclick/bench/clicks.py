"""The price of a click by process: a gateway, a sessions flow and the Redis between them, each a process of its own.

    python -m nextclick.bench.clicks [--before FOLDER] [--runs 3] [--trends] [--clicks 60000] [--seconds 10]

Loads: a backlog that is applied as fast as it goes (clicks a second), arrays of 500 clicks and single clicks over HTTP
at a steady rate (processor microseconds a click, by process), the same once more with a look at each click until it is
applied; and nothing at all. Processor time is the operating system's account. `--before` names another tree of this
code: both are measured in turns, by the same load.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from nextclick.bench.click_posts import Watch, post
from nextclick.bench.click_stack import ClickStack, running_clicks
from nextclick.bench.report import BenchRow, console, expect_bench, finish, medians

ARRAY = 500
SESSIONS = 10_000
CLICKS_A_SESSION = 6
ARRAYS_A_SECOND = 4.0
SINGLES_A_SECOND = 500.0
CONNECTIONS = 16
"""Over which single clicks come."""
VISIBLE_TARGET_MS = 50.0
_SETTLE_S = 2.0
_TARGETS = {"gateway": 15.0, "sessions": 20.0, "redis": 20.0}
"""Microseconds a click in arrays."""


def make_clicks(items: Sequence[str], first: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield (session id, event JSON): a session's clicks are on the dozen items around one of its own."""
    random = np.random.default_rng(first)
    homes = (len(items) * np.random.default_rng(7).random(SESSIONS) ** 3).astype(np.int64)
    steps = random.integers(0, 12, count).tolist()
    now_ms = time.time_ns() // 1_000_000
    for number, step in zip(range(first, first + count), steps, strict=True):
        session = f"s{number % SESSIONS}-{number // (CLICKS_A_SESSION * SESSIONS)}"
        item = items[(int(homes[number % SESSIONS]) + step) % len(items)]
        event = {"v": 1, "event_id": f"e-{first}-{number}", "type": "view", "session_id": session, "item_id": item}
        more = {"user_id": f"u{number % SESSIONS}", "context": {"device": "mobile", "page": "product"}}
        yield session, orjson.dumps(event | {"ts": now_ms} | more)


def parted(clicks: Sequence[tuple[str, bytes]], size: int) -> Iterator[Sequence[tuple[str, bytes]]]:
    """Yield clicks in parts of `size`, the last one smaller."""
    for start in range(0, len(clicks), size):
        yield clicks[start : start + size]


class Load:
    """What is sent to one stack, and what each load cost it."""

    def __init__(self, stack: ClickStack) -> None:
        self._stack = stack
        self._sent = 0

    def backlog(self, count: int) -> list[BenchRow]:
        """Fill the log while the sessions flow stands still, then let it run."""
        stack = self._stack
        flow = stack.processes["sessions"]
        os.kill(flow, signal.SIGSTOP)
        writer = open_writer(stack.log, stack.redis)
        for part in parted(self._clicks(count), 5000):
            writer.append(Topic.CLICKS, [Record(session, raw) for session, raw in part])
        writer.close()
        before, began = stack.cpu_s(), time.monotonic()
        os.kill(flow, signal.SIGCONT)
        stack.wait_for(self._sent)
        took_s = time.monotonic() - began
        after = stack.cpu_s()
        each = {name: 1e6 * (after[name] - before[name]) / count for name in ("sessions", "redis")}
        return [
            BenchRow("backlog applied by one sessions flow", count / took_s, "clicks/s", 40_000.0, "higher"),
            BenchRow("processor time, backlog, sessions", each["sessions"], "us/click"),
            BenchRow("processor time, backlog, redis", each["redis"], "us/click"),
        ]

    def arrays(self, seconds: float) -> list[BenchRow]:
        """Post arrays of clicks at a steady rate."""
        count = max(1, int(seconds * ARRAYS_A_SECOND))
        bodies = [b"[%b]" % b",".join(raw for _, raw in part) for part in parted(self._clicks(count * ARRAY), ARRAY)]
        return self._posted(bodies, ARRAYS_A_SECOND, ARRAY, 1, "in arrays", _TARGETS)

    def singles(self, seconds: float) -> list[BenchRow]:
        """Post clicks one by one at a steady rate."""
        bodies = [raw for _, raw in self._clicks(max(1, int(seconds * SINGLES_A_SECOND)))]
        return self._posted(bodies, SINGLES_A_SECOND, 1, CONNECTIONS, "one by one", {})

    def visible(self, seconds: float) -> list[BenchRow]:
        """Post clicks one by one at a steady rate, and look how long each takes to be in its session."""
        bodies = [raw for _, raw in self._clicks(max(1, int(seconds * SINGLES_A_SECOND)))]
        watch = Watch(self._stack)
        load = {"connections": CONNECTIONS, "told": watch.told}
        sending = threading.Thread(target=post, args=(self._stack.port, bodies, SINGLES_A_SECOND), kwargs=load)
        sending.start()
        took_ms = 1000 * np.array(watch.follow(len(bodies)))
        sending.join()
        return [
            BenchRow("single click, due to applied, p50", float(np.percentile(took_ms, 50)), "ms"),
            BenchRow("single click, due to applied, p99", float(np.percentile(took_ms, 99)), "ms", VISIBLE_TARGET_MS),
        ]

    def idle(self, seconds: float) -> list[BenchRow]:
        """Look at the shares of a core while nothing comes."""
        time.sleep(_SETTLE_S)
        before = self._stack.cpu_s()
        time.sleep(seconds)
        after = self._stack.cpu_s()
        limits = {"sessions": 1.0, "trends": 1.0}
        return [
            BenchRow(f"idle, {name}", 100 * (after[name] - before[name]) / seconds, "% of a core", limits.get(name))
            for name in after
        ]

    def _clicks(self, count: int) -> list[tuple[str, bytes]]:
        first, self._sent = self._sent, self._sent + count
        return list(make_clicks(self._stack.items, first, count))

    def _posted(
        self, bodies: Sequence[bytes], rate: float, clicks: int, connections: int, how: str, targets: dict[str, float]
    ) -> list[BenchRow]:
        before, began = self._stack.cpu_s(), time.monotonic()
        posted = post(self._stack.port, bodies, rate, connections=connections)
        self._stack.wait_for(self._sent)
        time.sleep(max(0.0, began + len(bodies) / rate + _SETTLE_S - time.monotonic()))
        after = self._stack.cpu_s()
        each = {name: 1e6 * (after[name] - before[name]) / (len(bodies) * clicks) for name in after}
        rows = [BenchRow(f"{how}, {name}", each[name], "us/click", targets.get(name)) for name in each]
        total = BenchRow(f"{how}, all of these", sum(each.values()), "us/click", 80.0 if targets else None)
        waited_ms = [1000 * (one.answered_s - one.due_s) for one in posted]
        return [
            *(*rows, total),
            BenchRow(f"{how}, answered, p50", float(np.percentile(waited_ms, 50)), "ms"),
            BenchRow(f"{how}, answered, p99", float(np.percentile(waited_ms, 99)), "ms"),
        ]


def measure(tree: Path | None, options: argparse.Namespace) -> list[BenchRow]:
    """Return all figures of one tree of code."""
    with (
        tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name,
        running_clicks(Path(name), tree, trends=options.trends) as stack,
    ):
        load = Load(stack)
        load.arrays(2.0)
        load.singles(2.0)
        load.backlog(5000)
        return [
            *load.backlog(options.clicks),
            *load.arrays(options.seconds),
            *load.singles(options.seconds),
            *load.visible(options.seconds),
            *load.idle(options.seconds),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.clicks", description=__doc__)
    parser.add_argument("--before", type=Path, help="another tree of this code, measured in turns with this one")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--clicks", type=int, default=60_000, help="of the backlog")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each steady load, and of idling")
    parser.add_argument("--trends", action="store_true", help="run the trends flow beside")
    options = parser.parse_args()
    expect_bench("clicks")
    trees = [options.before, None] if options.before else [None]
    found: dict[Path | None, list[list[BenchRow]]] = {tree: [] for tree in trees}
    with console.status("measuring") as status:
        for run in range(options.runs):
            for tree in trees:
                status.update(f"run {run + 1} of {options.runs}, {tree or 'this tree'}")
                found[tree].append(measure(tree, options))
    rows = medians(found[None])
    if options.before:
        earlier = [replace(row, name=f"before: {row.name}", target=None) for row in medians(found[options.before])]
        rows = [*earlier, *rows]
    finish("clicks", rows, f"python -m nextclick.bench.clicks --clicks {options.clicks} --seconds {options.seconds:g}")


if __name__ == "__main__":
    main()
