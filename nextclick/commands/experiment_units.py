"""`nextclick experiment units`: who took part in an experiment and what they did, as a table for a report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def units(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    out: Annotated[Path, typer.Option(help="Where the table goes (.csv): a row a session, or a user.")],
    unit: Annotated[str, typer.Option(help="What the experiment parts: session or user.")] = "session",
    tester: Annotated[
        list[str] | None, typer.Option(help="A unit that is left out: those of `overrides`. Repeatable.")
    ] = None,
    recording: Annotated[
        list[Path] | None, typer.Option(help="Recorded events (.jsonl.zst) instead of the log. Repeatable.")
    ] = None,
) -> None:
    """Count what each unit of an experiment was shown and did; of an interleaved one also which variant it clicked."""
    from attribution.drawn_pages import credits_of
    from attribution.participants import COLUMNS, participants
    from contracts.outputs import expect_outputs, written_aside
    from nextclick.commands.experiment_options import facts_of, unit_of
    from nextclick.show.unit_tables import CREDIT_COLUMNS, UNITS, told

    expect_outputs((out, UNITS))
    kind, console = unit_of(unit), Console(highlight=False, soft_wrap=True)
    facts, rules = facts_of(recording or [])
    found = participants(facts, name, rules, unit=kind, testers=tester or ())
    credits = credits_of(facts, name, rules, unit=kind)
    with written_aside(out, UNITS) as aside, aside.open("x", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow((*COLUMNS, *(CREDIT_COLUMNS if credits else ())))
        rows.writerows((*row, *credits.get(row.unit, ())) for row in found.rows if not credits or row.unit in credits)
    for line in told(found, out, interleaved=bool(credits)):
        console.print(line, markup=False)
    if not found.rows:
        raise typer.Exit(1)
