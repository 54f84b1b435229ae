"""What `nextclick sample describe` found, as a Markdown table: a row a figure, a column a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Final

_SHARES: Final = ("share of", "sessions of one view", "items with", "views of an item", "views by", "users with")


def sample_table(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the lines of the table. Columns are named by file and its folder; what is not known is empty."""
    names = [f"{Path(path).parent.name}/{Path(path).name}".lstrip("/") for path in found]
    yield f"| | {' | '.join(names)} |"
    yield "|---|" + "---:|" * len(names)
    for figure in dict.fromkeys(name for figures in found.values() for name in figures):
        cells = (_cell(figure, figures.get(figure, float("nan"))) for figures in found.values())
        yield f"| {figure} | {' | '.join(cells)} |"


def _cell(figure: str, value: float) -> str:
    if isnan(value):
        return ""
    if figure.startswith(_SHARES):
        return f"{value:.1%}"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.2f}"
