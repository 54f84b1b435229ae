"""The one report of the benchmarks: a table in the terminal, and JSON in build/bench."""

from __future__ import annotations

import statistics
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from evaluation.report import BenchRow, describe_machine, write_bench

console = Console()


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
