"""Benchmark figures: a table, and JSON: one file a benchmark, with the machine and the command beside the figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson
from rich.console import Console
from rich.table import Table

from contracts.outputs import expect_replaceable, json_kind, write_output
from evaluation.machine import describe_machine

console = Console()
BENCH_FOLDER = Path("build/bench")
BENCH = json_kind("figures of a benchmark", "name", "command", "machine", "rows")


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One figure. `better` says which way is good; `target` is what it should reach, None for a plain fact."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


def expect_bench(name: str, *, folder: Path = BENCH_FOLDER) -> None:
    """Raise OutputRefused unless `write_bench` may write its file: look before measuring."""
    expect_replaceable(folder / f"{name}.json", BENCH)


def write_bench(
    name: str, rows: Sequence[BenchRow], command: str, *, folder: Path = BENCH_FOLDER, at: datetime | None = None
) -> Path:
    """Write `<folder>/<name>.json` and return its path. `command` is what made the figures; `at` defaults to now."""
    path = folder / f"{name}.json"
    write_bench_file(path, name, rows, command, at=at)
    return path


def write_bench_file(
    path: Path, name: str, rows: Sequence[BenchRow], command: str, *, at: datetime | None = None
) -> None:
    """The same into a file of any name."""
    report = {
        "name": name,
        "command": command,
        "made_at": (at or datetime.now(UTC)).isoformat(timespec="seconds"),
        "machine": asdict(describe_machine()),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    write_output(path, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), BENCH)


def medians(runs: list[list[BenchRow]]) -> list[BenchRow]:
    """Return one row a figure: the median over the runs."""
    return [replace(rows[0], value=statistics.median(row.value for row in rows)) for rows in zip(*runs, strict=True)]


def finish(name: str, rows: list[BenchRow], command: str) -> None:
    """Print the figures and write them to build/bench."""
    table = Table(title=f"{name}: {command}", caption=str(describe_machine()))
    for column in ("figure", "value", "unit", "target", "met"):
        table.add_column(column, justify="right" if column in ("value", "target") else "left")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g}"
        met = {True: "yes", False: "[red]no[/]", None: ""}[row.met]
        table.add_row(
            row.name, f"{row.value:,.4g}" if row.unit != "events" else f"{row.value:,.0f}", row.unit, target, met
        )
    console.print(table)
    console.print(f"Written to {write_bench(name, rows, command)}")
