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
    """Count what each unit of an experiment was shown and did."""
    from attribution.credit import CreditRules
    from attribution.participants import COLUMNS, participants
    from contracts.errors import SettingsError
    from contracts.outputs import expect_outputs, written_aside
    from contracts.settings import ServiceSettings
    from nextclick.show.unit_tables import UNITS, told
    from replay.reference.attribution import logged_facts, recorded_facts

    if unit not in ("session", "user"):
        raise SettingsError(f"expected --unit session or user, got {unit!r:.60}")
    expect_outputs((out, UNITS))
    settings, console = ServiceSettings(), Console(highlight=False, soft_wrap=True)
    options = settings.attribution
    facts = recorded_facts(settings, recording) if recording else logged_facts(settings, None)
    found = participants(
        facts,
        name,
        CreditRules(options.click_ms, options.purchase_ms, options.touch),
        unit="user" if unit == "user" else "session",
        testers=tester or (),
    )
    with written_aside(out, UNITS) as aside, aside.open("x", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows(found.rows)
    for line in told(found, out):
        console.print(line, markup=False)
    if not found.rows:
        raise typer.Exit(1)
