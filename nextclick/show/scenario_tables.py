"""Scenarios on recorded traffic, side by side and one against the other: tables, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from evaluation.paired import Difference
    from learning.scenario_figures import Exposure, Judged

UNKNOWN: Final = "n/a"
MOST_SUPPLIERS: Final = 12
_DECIMALS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("hit_price", "hit_margin", "bought_price"), 0),
    **dict.fromkeys(("page_price", "novelty"), 2),
}


def number(name: str, value: float, *, signed: bool = False) -> str:
    """Return a figure as it is shown; one that cannot be told is `n/a`."""
    if math.isnan(value):
        return UNKNOWN
    return f"{value:{'+' if signed else ''},.{_DECIMALS.get(name, 4)}f}"


def interval(name: str, low: float, high: float) -> str:
    """Return the bounds of a difference as they are shown."""
    if math.isnan(low) or math.isnan(high):
        return UNKNOWN
    return f"{number(name, low, signed=True)} to {number(name, high, signed=True)}"


def difference_table(found: Mapping[str, Difference], old: str, new: str) -> Table:
    """Return every figure of both scenarios and what the new one changes; what is clear stands out."""
    table = _table(f"{new} instead of {old}", "figure", old, new, "change", "95% interval")
    for name, one in found.items():
        change = one.change
        cells = (number(name, one.old), number(name, one.new), number(name, change.value, signed=True))
        table.add_row(name, *cells, interval(name, change.low, change.high), style="bold" if one.is_clear else "")
    return table


def suppliers_table(found: Sequence[Exposure], old: str, new: str) -> Table:
    """Return the suppliers that are gained, lost, or shown otherwise than before: the first ones."""
    left = len(found) - MOST_SUPPLIERS
    title = "Items shown by supplier" + (f", and {left} more (--out)" if left > 0 else "")
    table = _table(title, "supplier", old, new, "share, was", "share, is", "")
    for one in found[:MOST_SUPPLIERS]:
        table.add_row(
            one.name, f"{one.old:,}", f"{one.new:,}", f"{one.old_share:.1%}", f"{one.new_share:.1%}", one.fate
        )
    return table


def side_by_side_table(names: Sequence[str], judged: Sequence[Judged]) -> Table:
    """Return every figure of every scenario, a column a scenario."""
    table = _table(f"{len(judged[0].asked.session):,} pages each", "figure", *names)
    for name in judged[0].values:
        table.add_row(name, *(number(name, one.values[name]) for one in judged))
    return table


def legend(console: Console) -> None:
    """Say what each figure is."""
    from learning.scenario_figures import UNITS

    for name, what in UNITS.items():
        console.print(f"[dim]{name:>16}  {what}[/]", highlight=False)


def difference_json(found: Mapping[str, Difference], suppliers: Sequence[Exposure]) -> dict[str, Any]:
    """Return a comparison as a document: figures that cannot be told are null."""
    figures = {
        name: {
            "old": told(one.old),
            "new": told(one.new),
            "change": told(one.change.value),
            "low": told(one.change.low),
            "high": told(one.change.high),
            "clear": one.is_clear,
        }
        for name, one in found.items()
    }
    exposed = [{"supplier": one.name, "old": one.old, "new": one.new, "fate": one.fate or None} for one in suppliers]
    return {"figures": figures, "suppliers": exposed}


def told(value: float) -> float | None:
    """Return a figure, None for one that cannot be told: JSON knows no NaN."""
    return None if math.isnan(value) else value


def _table(title: str, *names: str) -> Table:
    table = Table(*names, title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    return table
