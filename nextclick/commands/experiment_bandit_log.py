"""`nextclick experiment bandit-log`: what was drawn, with which probability, and what it earned: a row a page."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def bandit_log(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    out: Annotated[Path, typer.Option(help="Where the log goes (.csv): a row a page.")],
    unit: Annotated[str, typer.Option(help="What the experiment parts: session or user.")] = "session",
    recording: Annotated[
        list[Path] | None, typer.Option(help="Recorded events (.jsonl.zst) instead of the log. Repeatable.")
    ] = None,
) -> None:
    """Write what `nextclick evaluate policy` reads: action (variant), reward (1: clicked), propensity, context."""
    from attribution.drawn_pages import COLUMNS, drawn_pages
    from contracts.outputs import expect_outputs, written_aside
    from nextclick.commands.experiment_options import facts_of, unit_of
    from nextclick.show.unit_tables import BANDIT_LOG, told_of_pages

    expect_outputs((out, BANDIT_LOG))
    kind, console = unit_of(unit), Console(highlight=False, soft_wrap=True)
    facts, rules = facts_of(recording or [])
    found = drawn_pages(facts, name, rules, unit=kind)
    with written_aside(out, BANDIT_LOG) as aside, aside.open("x", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows(found)
    for line in told_of_pages(found, out):
        console.print(line, markup=False)
    if not found:
        raise typer.Exit(1)
