"""Figures of attribution for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from attribution.cells import Cells
from attribution.figures import Figures
from state.attribution import Ledger

SHARES = frozenset({"ctr", "viewed_ctr", "conversion", "cart_abandonment"})


def kpi_table(
    by: Sequence[str], rows: Mapping[tuple[str, ...], Figures], lines: Mapping[tuple[str, ...], str], over: str
) -> Table:
    """Return a row for each group; what has no figure of a column is left blank. Where there are `lines` (sparklines),
    they are a last column named `over`.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(*by)
    for name in names:
        table.add_column(name, justify="right")
    if lines:
        table.add_column(over, no_wrap=True)
    for row, found in rows.items():
        drawn = [lines.get(row, "")] if lines else []
        table.add_row(*row, *(_shown(name, found.get(name)) for name in names), *drawn)
    return table


def stands_on(ledger: Ledger) -> str:
    """Say which records of the log the figures stand on, and what became of events."""
    if not ledger.offsets:
        return "Nothing was counted yet: the attribution flow runs where NEXTCLICK_ATTRIBUTION__RUN is true."
    topics: dict[str, int] = {}
    for name, offset in ledger.offsets.items():
        topic = name.partition(":")[0]
        topics[topic] = topics.get(topic, 0) + offset
    counted = ", ".join(f"{topic} {offset:,}" for topic, offset in sorted(topics.items()))
    facts = ", ".join(f"{name} {count:,}" for name, count in sorted(ledger.facts.items()))
    return f"records counted: {counted} · events: {facts or 'none'}"


def differences(expected: Cells, got: Cells) -> list[str]:
    """Say cell by cell what differs."""
    found = []
    for cell in sorted(expected.keys() | got.keys()):
        if expected[cell] != got[cell]:
            place = " ".join(filter(None, cell.dims))
            found.append(
                f"hour {cell.hour} · {place} · {cell.counter}: expected {expected[cell] / 10_000:,.4f}, "
                f"got {got[cell] / 10_000:,.4f}"
            )
    return found


def _shown(name: str, figure: float | None) -> str:
    if figure is None:
        return ""
    if name in SHARES:
        return f"{figure:.2%}"
    return f"{figure:,.2f}" if ":" in name or figure % 1 else f"{figure:,.0f}"
