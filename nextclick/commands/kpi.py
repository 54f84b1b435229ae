"""`nextclick kpi show`: figures as a table, read from Redis."""

from __future__ import annotations

from typing import Annotated

import typer


def show_kpi(
    by: Annotated[
        str, typer.Option(help="Dimensions, separated by commas: scenario, version, variant, hour, position ...")
    ] = "recommended,scenario",
    since: Annotated[str, typer.Option("--from", help="First hour: 2026-11-29, 2026-11-29T13:00Z. None: all.")] = "",
    to: Annotated[str, typer.Option(help="The last hour. None: now.")] = "",
    metric: Annotated[
        str, typer.Option(help="Figures, separated by commas: shown, ctr, revenue, average_order ...")
    ] = "shown,clicks,ctr,orders,conversion,revenue,revenue_per_thousand,average_order",
    over: Annotated[
        str,
        typer.Option(help="Draw a line over the newest 24 of these: hour, day, none. None: hour, where it is wide."),
    ] = "",
    line: Annotated[str, typer.Option(help="The figure that it draws. None: ctr, or the first one.")] = "",
) -> None:
    """Show what was shown and what came of it, as the attribution flow has counted it."""
    from attribution.cells import cells_of
    from attribution.figures import expect_asked, figures, hour_of, table, words_of
    from contracts.errors import SettingsError
    from contracts.settings import ServiceSettings
    from nextclick.show.evaluation_tables import WIDE, evaluation_console
    from nextclick.show.kpi_tables import kpi_table, stands_on
    from nextclick.show.sparkline import lines
    from state.attribution import read_ledger

    dimensions, metrics = words_of(by), words_of(metric)
    expect_asked(dimensions, [*metrics, *words_of(line)])
    console = evaluation_console()
    over = over or ("hour" if console.width >= WIDE else "none")
    if over not in ("hour", "day", "none"):
        raise SettingsError(f"expected --over hour, day or none, got {over!r:.60}")
    first, last = hour_of(since) if since else None, hour_of(to) if to else None
    ledger = read_ledger(ServiceSettings().redis, first, last)
    rows = {row: figures(counts, metrics) for row, counts in table(cells_of(ledger.cells).items(), dimensions).items()}
    drawn = line or ("ctr" if "ctr" in metrics else (metrics or ["ctr"])[0])
    drawings = {}
    if over != "none" and not {"hour", "day"} & set(dimensions):
        by_time = table(cells_of(ledger.cells).items(), [*dimensions, over])
        drawings = lines({row: figures(counts, [drawn]) for row, counts in by_time.items()}, over, drawn)
    console.print(kpi_table(dimensions, rows, drawings, f"{drawn} by {over}"))
    console.print(stands_on(ledger), highlight=False, soft_wrap=True)
