"""From `nextclick up` to the first recommendation, and what a stack uses that nobody asks.

    python -m nextclick.bench.start [--before FOLDER] [--runs 3] [--items 18000] [--sessions 1000] [--idle 20]

The folder holds items and sessions already, kernels are compiled. Measured from the start of the command to the first
recommendation (/api/recommendations/homepage answers 200), with the processor seconds of each process up to then, as
the operating system accounts them; then the shares of a core while nothing comes. `--before` names another tree of this
code: both are measured in turns.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import orjson

from contracts.errors import NextclickError
from nextclick.bench.accounting import look, spent_between, until_calm
from nextclick.bench.report import BenchRow, console, expect_bench, finish, medians
from nextclick.bench.shop_traffic import EVENTS_A_REQUEST, Traffic, make_traffic
from nextclick.stack.client import Client
from nextclick.stack.load_items import load_items
from nextclick.stack.shop_models import ARTIFACTS
from state.ports import free_port

PARENT = "nextclick up"
TARGET_S, IDLE_TARGET = 5.0, 1.0
GIVE_UP_S = 120.0
LOOK_S = 0.01
SETTLE_S = 15.0
"""Longer than an epoch of Bytewax: what was counted at the start has been written."""
_NAMES = {
    "redis-server": "redis",
    "flows.items:flow": "items",
    "flows.sessions:flow": "sessions",
    "flows.trends:flow": "trends",
    "flows.run_trends": "trends",
    "flows.profiles:flow": "profiles",
    "gateway": "gateway",
    "retrieval.builder": "index",
}
"""Of processes, by a word of their command."""


class Up:
    """A running `nextclick up`: its command, and when that was started."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.port = free_port()
        command = ("from nextclick.cli import main; main()", "up", "--port", str(self.port))
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", *command, "--folder", str(folder), "--artifacts", str(ARTIFACTS)],
            env={**os.environ, "PYTHONPATH": str(tree)},
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> dict[str, int]:
        """Return the process ids of what runs now, by name."""
        children = Path(f"/proc/{self.process.pid}/task")
        found = {PARENT: self.process.pid}
        for task in children.iterdir():
            for pid in (task / "children").read_text().split():
                words = Path(f"/proc/{pid}/cmdline").read_text().replace(" ", "\0").split("\0")
                name = next((_NAMES[Path(word).name] for word in words if Path(word).name in _NAMES), None)
                if name is not None:
                    found[name] = int(pid)
        return found

    def wait_for_answer(self) -> float:
        """Return after so many seconds the first recommendation was there. Raises NextclickError."""
        body = orjson.dumps({"session_id": "a-new-one"})
        while not self._answers(body):
            if self.process.poll() is not None or time.monotonic() - self.began_s > GIVE_UP_S:
                raise NextclickError(f"expected a recommendation from {self.url}, got none: see what it said above")
            time.sleep(LOOK_S)
        return time.monotonic() - self.began_s

    def _answers(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/api/recommendations/homepage", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
            if status not in (200, 503):
                raise NextclickError(f"expected a recommendation from {self.url}, got status {status}")
            return status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running_up(tree: Path, folder: Path) -> Iterator[Up]:
    """Run `nextclick up` with the code in `tree`; it has ended afterwards."""
    up = Up(tree, folder)
    try:
        yield up
    finally:
        up.process.send_signal(signal.SIGTERM)
        up.process.wait(60)


def fill(tree: Path, folder: Path, traffic: Traffic) -> None:
    """Make a folder that holds items and sessions, and compile the tree's kernels."""
    with running_up(tree, folder) as up, Client(up.url) as client:
        up.wait_for_answer()
        load_items(console, list(traffic.items), client)
        known = {item_id for item_id, _ in traffic.items}
        events = [event for event in traffic.events if event["item_id"] in known]
        for at in range(0, len(events), EVENTS_A_REQUEST):
            client.send_events(events[at : at + EVENTS_A_REQUEST])
        time.sleep(SETTLE_S)
        until_calm(up.pids())


def measure(tree: Path, folder: Path, idle_s: float) -> list[BenchRow]:
    """Return the figures of one start."""
    with running_up(tree, folder) as up:
        took_s = up.wait_for_answer()
        used = {name: one.cpu_s for name, one in sorted(look(up.pids()).by_name.items())}
        rows = [BenchRow("first recommendation after", took_s, "s", TARGET_S)]
        rows += [BenchRow(f"processor time until then, {name}", seconds, "s") for name, seconds in used.items()]
        rows.append(BenchRow("processor time until then, all", sum(used.values()), "s"))
        if idle_s:
            time.sleep(SETTLE_S)
            before = look(up.pids())
            time.sleep(idle_s)
            spent = spent_between(before, look(up.pids()))
            shares = {name: spent.share(name) for name in sorted(spent.cpu_s)}
            rows += [BenchRow(f"idle, {name}", share, "% of a core", IDLE_TARGET) for name, share in shares.items()]
            rows.append(BenchRow("idle, all", sum(shares.values()), "% of a core"))
            rows.append(BenchRow("memory, all", _resident_mb(up), "MB"))
        return rows


def _resident_mb(up: Up) -> float:
    return sum(one.resident_bytes for one in look(up.pids()).by_name.values()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.start", description=__doc__)
    parser.add_argument("--before", type=Path, help="another tree of this code, measured in turns with this one")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--items", type=int, default=18_000)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to look at a stack that nobody asks; 0: none")
    options = parser.parse_args()
    expect_bench("start")
    this = Path(__file__).parents[2]
    trees = [options.before.absolute(), this] if options.before else [this]
    found: dict[Path, list[list[BenchRow]]] = {tree: [] for tree in trees}
    traffic = make_traffic(options.items, options.sessions)
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name, console.status("filling the folder") as status:
        folders = {tree: Path(name) / str(at) for at, tree in enumerate(trees)}
        for tree, folder in folders.items():
            folder.mkdir()
            fill(tree, folder, traffic)
        for run in range(options.runs):
            for tree, folder in folders.items():
                status.update(f"run {run + 1} of {options.runs}")
                found[tree].append(measure(tree, folder, options.idle))
    rows = medians(found[this])
    if options.before:
        earlier = [replace(row, name=f"before: {row.name}", target=None) for row in medians(found[trees[0]])]
        rows = [*earlier, *rows]
    told = f"--runs {options.runs} --items {options.items} --sessions {options.sessions} --idle {options.idle:g}"
    finish("start", rows, f"make bench-start ARGS='{told}'")


if __name__ == "__main__":
    main()
