"""`nextclick kpi alert`: has the click-through rate of the last full hour fallen?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def alert_kpi(
    hour: Annotated[str, typer.Option(help="The hour: 2026-11-29T13:00Z. None: the last full one.")] = "",
    scenario: Annotated[str, typer.Option(help="Of this scenario. None: all that is recommended.")] = "",
    days: Annotated[int, typer.Option(min=3, max=30, help="Earlier days whose same hour it is compared with.")] = 14,
    chance: Annotated[float, typer.Option(min=1e-6, max=0.1, help="Of an alarm though nothing fell.")] = 0.001,
) -> None:
    """Compare it with the same hour of earlier days. Exit status 1 when it fell by more than chance."""
    from attribution.cells import HOUR_MS, cells_of
    from attribution.facts import SCALE
    from attribution.fallen import Hour, compared
    from attribution.figures import hour_of, table
    from contracts.clock import wall_clock_ms
    from contracts.settings import ServiceSettings
    from state.attribution import read_ledger

    asked, redis = hour_of(hour) if hour else wall_clock_ms() // HOUR_MS - 1, ServiceSettings().redis
    found = []
    for number in (asked - 24 * day for day in range(days + 1)):
        rows = table(cells_of(read_ledger(redis, number, number).cells).items(), ["recommended", "scenario"])
        counts = [one for (is_ours, name), one in rows.items() if is_ours == "yes" and scenario in ("", name)]
        found.append(Hour(*(sum(one[what] for one in counts) / SCALE for what in ("shown", "clicks"))))
    said, name = Console(highlight=False, soft_wrap=True), scenario or "what is recommended"
    result = compared(found[0], found[1:], chance)
    if result is None:
        said.print(f"{name}: nothing to compare: {found[0].shown:,.0f} shown, and too few earlier days", markup=False)
        return
    words = (
        f"{name}: {result.rate:.2%} of {found[0].shown:,.0f} shown were clicked, {result.before:.2%} in this hour of "
        f"earlier days: {result.below:+.1f} standard errors below, {result.allowed:.1f} are chance"
    )
    said.print(words, markup=False)
    if result.fell:
        raise typer.Exit(1)
