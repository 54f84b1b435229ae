"""Two trees of this project beside each other: what a request costs in each, asked in turns in one run.

    python -m nextclick.bench.pair OTHER_TREE [--rates 100,500] [--turns 8] [--seconds 6] [--items 18000]

Each tree runs a whole stack of its own code, with the same shop and the same questions. Turns alternate, so that
whatever else the machine does falls on both. Figures are processor time by the operating system's accounting, of all
processes of a stack; the ratio has an interval from its turns. Writes build/bench/pair.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from nextclick.bench.accounting import look, spent_between, until_calm
from nextclick.bench.load import attack
from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.bench.serving_runs import Driven, RatePoint

HERE: Final = Path(__file__).parents[2]
SERVE: Final = """
import sys
from contextlib import ExitStack
import orjson
from rich.console import Console
from nextclick.bench.accounting import pids_of
from nextclick.bench.profile import question_targets
from nextclick.bench.running import running_stack
from nextclick.bench.shop_traffic import load_traffic, make_traffic
from nextclick.stack.client import Client
from nextclick.stack.shop_models import ARTIFACTS

items, sessions = int(sys.argv[1]), int(sys.argv[2])
with ExitStack() as open_:
    stack = open_.enter_context(running_stack(ARTIFACTS))
    traffic = make_traffic(items, sessions)
    load_traffic(Console(stderr=True), open_.enter_context(Client(stack.url)), stack, traffic)
    targets = open_.enter_context(question_targets(stack, traffic))
    sys.stdout.write(orjson.dumps({"targets": str(targets), "pids": pids_of(stack)}).decode() + "\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""
"""Runs on the code of either tree, so it leans on few names: those that bench/serving.py has long used."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("other", type=Path, help="another checkout, as `git worktree add` makes one")
    words.add_argument("--rates", default="100,500", help="requests a second")
    words.add_argument("--turns", type=int, default=8)
    words.add_argument("--seconds", type=float, default=6.0, help="how long a turn lasts")
    words.add_argument("--idle", type=float, default=20.0, help="seconds for which both are left alone")
    words.add_argument("--items", type=int, default=18_000)
    words.add_argument("--sessions", type=int, default=5000)
    typed = words.parse_args()
    if not (typed.other / "nextclick/bench/running.py").exists():
        words.error(f"expected a checkout of this project, found none at {typed.other}")
    expect_bench("pair")
    rows: list[BenchRow] = []
    with ExitStack() as open_:
        trees = [
            open_.enter_context(serving(tree, typed.items, typed.sessions)) for tree in (typed.other.resolve(), HERE)
        ]
        for one in trees:
            attack(one.targets, 50.0, 5.0)
            until_calm(one.pids, within_s=20.0)
        rows += idle(trees, typed.idle)
        for rate in (float(part) for part in typed.rates.split(",")):
            rows += compared(rate, in_turns(trees, rate, typed.turns, typed.seconds))
    finish("pair", rows, f"make bench-pair ARGS='{typed.other} --rates {typed.rates} --turns {typed.turns}'")


@contextmanager
def serving(tree: Path, items: int, sessions: int) -> Iterator[Driven]:
    """Run a tree's stack with its shop loaded."""
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", SERVE, str(items), str(sessions)]
    process = subprocess.Popen(command, env=env, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = orjson.loads(process.stdout.readline())
        yield Driven(Path(told["targets"]), told["pids"])
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def idle(trees: Sequence[Driven], seconds: float) -> list[BenchRow]:
    """Leave both alone at once, and return what each uses of a core."""
    before = [look(tree.pids) for tree in trees]
    time.sleep(seconds)
    spent = [spent_between(was, look(tree.pids)) for was, tree in zip(before, trees, strict=True)]
    names = ("the other tree", "this tree")
    return [
        BenchRow(f"idle: {name}", 100.0 * one.total_s / one.elapsed_s, "% of a core")
        for name, one in zip(names, spent, strict=True)
    ]


def in_turns(trees: Sequence[Driven], rate: float, turns: int, seconds: float) -> list[list[RatePoint]]:
    """Ask both trees in turns; who goes first changes. Returns the points of each."""
    found: list[list[RatePoint]] = [[] for _ in trees]
    for turn in range(turns):
        order = range(len(trees)) if turn % 2 == 0 else reversed(range(len(trees)))
        for at in order:
            found[at].append(trees[at].at(rate, seconds))
    return found


def compared(rate: float, points: Sequence[Sequence[RatePoint]]) -> list[BenchRow]:
    """Return what a request costs in both, and the ratio turn by turn: its mean with two standard errors."""
    was, now = (np.array([point.total_us for point in own]) for own in points)
    logs = np.log(now / was)
    error = 2 * float(logs.std(ddof=1)) / len(logs) ** 0.5 if len(logs) > 1 else float("nan")
    mean = float(logs.mean())
    at = f"{rate:g}/s"
    rows = [
        BenchRow(f"{at}: the other tree, median", float(np.median(was)), "us a request"),
        BenchRow(f"{at}: this tree, median", float(np.median(now)), "us a request"),
        BenchRow(f"{at}: this by the other", float(np.exp(mean)), "ratio"),
        BenchRow(f"{at}: from", float(np.exp(mean - error)), "ratio"),
        BenchRow(f"{at}: to", float(np.exp(mean + error)), "ratio"),
    ]
    for name in sorted(points[1][0].cpu_us):
        sides = [float(np.median([point.cpu_us.get(name, 0.0) for point in own])) for own in points]
        rows.append(BenchRow(f"{at}: {name}, the other tree", sides[0], "us"))
        rows.append(BenchRow(f"{at}: {name}, this tree", sides[1], "us"))
    return rows


if __name__ == "__main__":
    main()
