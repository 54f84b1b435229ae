"""Requests beside a feed whose items all change, in turns with and without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from nextclick.bench.report import BenchRow, console

P99_TARGET: Final = 1.10
_FAST: Final = {"NEXTCLICK_FEEDS__MOST_PER_S": "100000", "NEXTCLICK_FEEDS__BUSY_SHARE": "1"}


class RunningFeed:
    """Pulls a table again and again, another title for each item each time, until it is closed. It can be stopped and
    let go on.
    """

    def __init__(self, folder: Path, url: str, changes: int) -> None:
        self._folder, self._url, self._changes = folder, url, changes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._stopped, self._ended = threading.Lock(), False, False
        self._thread = threading.Thread(target=self._run)
        self.pulls = 0

    def begin(self) -> None:
        """Load the items once, as fast as it goes; then change them again and again, at the settings' pace."""
        self._write()
        words = ["add", "bench", str(self._folder / "feed.csv"), "--format", "csv"]
        self._start(words, _FAST).wait()
        self._pull(_FAST)
        self._thread.start()

    def pause(self, stopped: bool) -> None:
        with self._lock:
            self._stopped = stopped
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def close(self) -> None:
        self._ended = True
        self.pause(stopped=False)
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            self._write()
            self._pull({})

    def _pull(self, env: dict[str, str]) -> None:
        with self._lock:
            self._process = self._start(["pull", "bench", "--url", self._url], env)
            if self._stopped:
                self._process.send_signal(signal.SIGSTOP)
        self._process.wait()
        self.pulls += 1

    def _write(self) -> None:
        rows = (
            f"feed-{n},Thing {n} of version {self.pulls},{n % 90 + 1}.5 EUR,Things > Group {n % 40},Brand {n % 20}\n"
            for n in range(self._changes)
        )
        (self._folder / "feed.csv").write_text("id,title,price,product_type,brand\n" + "".join(rows))

    def _start(self, words: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "nextclick", "feed", *words, "--feeds", str(self._folder / "feeds")]
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # as the stack does
        return process


def beside(items: int, changes: int, rate: float, turns: int, seconds: float) -> list[BenchRow]:
    """Ask a stack of `items` items, in turns with and without a feed of `changes` others; returns the percentiles of
    both and their ratio, turn by turn.
    """
    from nextclick.bench.accounting import pids_of, until_calm
    from nextclick.bench.load import attack
    from nextclick.bench.profile import question_targets
    from nextclick.bench.running import running_stack
    from nextclick.bench.shop_traffic import load_traffic, make_traffic
    from nextclick.stack.client import Client
    from nextclick.stack.shop_models import ARTIFACTS

    with ExitStack() as open_:
        stack = open_.enter_context(running_stack(ARTIFACTS))
        traffic = make_traffic(items, 5000)
        load_traffic(console, open_.enter_context(Client(stack.url)), stack, traffic)
        targets = open_.enter_context(question_targets(stack, traffic))
        feed = RunningFeed(Path(open_.enter_context(TemporaryDirectory(prefix="nextclick-bench-"))), stack.url, changes)
        with console.status("loading the feed"):
            feed.begin()
        open_.callback(feed.close)
        feed.pause(stopped=True)
        attack(targets, rate, 5.0)
        until_calm(pids_of(stack), within_s=20.0)
        found: list[list[list[float]]] = [[], []]
        for turn in range(turns):
            for runs in (False, True) if turn % 2 == 0 else (True, False):
                feed.pause(stopped=not runs)
                with console.status(f"turn {turn + 1} of {turns}, {'with' if runs else 'without'} the feed"):
                    loaded = attack(targets, rate, seconds)
                feed.pause(stopped=True)
                until_calm(pids_of(stack), within_s=5.0)
                found[runs].append([loaded.percentile(50), loaded.percentile(99), float(loaded.errors)])
        return _rows(found, rate, feed.pulls)


def _rows(found: Sequence[Sequence[Sequence[float]]], rate: float, pulls: int) -> list[BenchRow]:
    without, running = (np.array(side) for side in found)
    rows = [BenchRow("rate", rate, "requests/s"), BenchRow("pulls of the feed", pulls, "pulls")]
    for column, name, target in ((0, "p50", None), (1, "p99", P99_TARGET)):
        logs = np.log(running[:, column] / without[:, column])
        error = 2 * float(logs.std(ddof=1)) / len(logs) ** 0.5 if len(logs) > 1 else float("nan")
        middle = float(np.median(logs))
        rows += [
            BenchRow(f"{name} without a feed, median of the turns", float(np.median(without[:, column])), "ms"),
            BenchRow(f"{name} beside one, median of the turns", float(np.median(running[:, column])), "ms"),
            BenchRow(f"{name}: beside by without, median of the turns", float(np.exp(middle)), "ratio"),
            BenchRow(f"{name}: mean ratio from", float(np.exp(logs.mean() - error)), "ratio"),
            BenchRow(f"{name}: mean ratio to", float(np.exp(logs.mean() + error)), "ratio", target),
        ]
    return [*rows, BenchRow("errors", float(without[:, 2].sum() + running[:, 2].sum()), "requests", 0.0)]
