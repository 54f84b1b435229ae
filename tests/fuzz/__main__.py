"""Fuzzing from the command line: `make fuzz`.

python -m tests.fuzz                              all decoders for five minutes, the API for one
python -m tests.fuzz --seconds 60 --target events
python -m tests.fuzz --bodies 1000000             bodies into a running stack
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compiled.kernels import prepare
from nextclick.bench.report import BenchRow, finish
from tests.fuzz.api import check_api
from tests.fuzz.bodies import Sent, send_bodies
from tests.fuzz.run import Fuzzed, fuzz
from tests.fuzz.target import names

FOLDER = Path("build/fuzz")
console = Console()


def main() -> None:
    asked = _asked()
    command = " ".join(["python -m tests.fuzz", *sys.argv[1:]])
    logging.disable(logging.CRITICAL)  # what decoders say of each input
    if asked.bodies:
        finish(
            "fuzz-bodies", _rows_of(send_bodies(asked.bodies, connections=asked.connections, seed=asked.seed)), command
        )
        return
    prepare()  # kernels are compiled once, and not in each of the processes
    targets = asked.target or names()
    console.print(f"{len(targets)} decoders, {asked.seconds:g} s in all, {asked.jobs} at a time")
    fuzzed = fuzz(targets, asked.seconds, folder=FOLDER, jobs=asked.jobs, done=_say)
    problems = check_api(asked.api, seed=asked.seed, console=console) if asked.api else []
    _show(fuzzed)
    rows = [row for one in fuzzed for row in _figures(one)]
    finish("fuzz", [*rows, BenchRow("API: answers that the document does not allow", len(problems), "", 0.0)], command)
    findings = [path for one in fuzzed for path in one.findings]
    if findings or problems:
        sys.exit("\n".join([*map(str, findings), *problems]))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=...", description="Tries inputs that nobody would send.")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all decoders together")
    parser.add_argument("--target", action="append", choices=names(), help="one decoder; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="decoders at a time")
    parser.add_argument("--api", type=float, default=60.0, help="seconds for the API; 0 leaves it out")
    parser.add_argument(
        "--bodies", type=int, default=0, help="send so many bodies to a running stack, and nothing else"
    )
    parser.add_argument("--connections", type=int, default=32, help="of those who send bodies")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _say(one: Fuzzed) -> None:
    console.print(
        f"{time.strftime('%H:%M:%S')} {one.target}: {one.executions:,} inputs in {one.seconds:.0f} s, "
        f"{one.covered} branches, {one.new_inputs} new, {len(one.findings)} findings"
    )


def _show(fuzzed: list[Fuzzed]) -> None:
    table = Table("decoder", "inputs", "inputs/s", "branches", "new corpus entries", "findings")
    for one in fuzzed:
        figures = (one.executions, one.executions / one.seconds, one.covered, one.new_inputs, len(one.findings))
        table.add_row(one.target, *(f"{figure:,.0f}" for figure in figures))
    console.print(table)


def _figures(one: Fuzzed) -> list[BenchRow]:
    return [
        BenchRow(f"{one.target}: inputs", one.executions, "events"),
        BenchRow(f"{one.target}: new corpus entries", one.new_inputs, "events"),
        BenchRow(f"{one.target}: findings", len(one.findings), "", 0.0),
    ]


def _rows_of(sent: Sent) -> list[BenchRow]:
    memory = [
        BenchRow(f"{name}: memory at the {when}", megabytes, "MB")
        for name, figures in sent.memory_mb.items()
        for when, megabytes in zip(("beginning", "middle", "end"), figures, strict=True)
    ]
    return [
        BenchRow("bodies", sent.bodies, "events"),
        BenchRow("bodies a second", sent.bodies / sent.seconds, ""),
        *(BenchRow(f"answered {status}", count, "events") for status, count in sorted(sent.statuses.items())),
        BenchRow("answers of 500 and more, but 503", sent.failed, "", 0.0),
        BenchRow("connections lost without an answer", sent.lost, ""),
        BenchRow("valid requests that answered otherwise than before", len(sent.otherwise), "", 0.0),
        BenchRow("valid requests that said `stale`, and were asked again", sent.stale, ""),
        BenchRow("tracebacks in the logs", len(sent.tracebacks), "", 0.0),
        *memory,
    ]


if __name__ == "__main__":
    main()
