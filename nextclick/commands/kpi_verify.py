"""`nextclick kpi verify`: every figure counted again from the log, or from recorded files, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

SHOWN = 20


def verify_kpi(
    recording: Annotated[
        list[Path] | None, typer.Option(help="Recorded events (.jsonl.zst) instead of the log. Repeatable.")
    ] = None,
) -> None:
    """Count again, and say which cells differ. Exit status 1 when some do."""
    from attribution.cells import Cells, cells_of, without_zeros
    from attribution.credit import CreditRules
    from contracts.settings import ServiceSettings
    from nextclick.show.kpi_tables import differences, stands_on
    from replay.reference.attribution import logged_facts, plain_cells, recorded_facts, trimmed
    from state.attribution import read_ledger

    settings, console = ServiceSettings(), Console(highlight=False, soft_wrap=True)
    ledger = read_ledger(settings.redis)
    options = settings.attribution
    if recording:
        facts = recorded_facts(settings, recording)
    else:
        facts = logged_facts(settings, ledger.offsets)
        if missing := trimmed(settings):
            console.print(f"The log no longer holds its first {missing:,} records: give recordings of them.")
    expected = plain_cells(facts, CreditRules(options.click_ms, options.purchase_ms, options.touch))
    kept = min(ledger.cells, default=0)
    expected = Cells({cell: count for cell, count in expected.items() if cell.hour >= kept})
    got = without_zeros(cells_of(ledger.cells))
    found = differences(expected, got)
    for line in found[:SHOWN]:
        console.print(line, markup=False)
    console.print(stands_on(ledger))
    console.print(f"{len(expected):,} cells counted again, {len(found):,} differ")
    if found:
        raise typer.Exit(1)
