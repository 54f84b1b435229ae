"""Sparklines: a row of figures as blocks of text, the lowest to the highest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
MOST: Final = 24
"""Periods that a sparkline shows, the newest ones."""
_FORMATS: Final = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d"}


def sparkline(values: Iterable[float | None]) -> str:
    """Return a block for each value, by its place between the lowest and the highest; a space where there is none.
    Values that are all the same are of middle height.
    """
    row = list(values)
    known = [value for value in row if value is not None]
    if not known:
        return " " * len(row)
    low, high = min(known), max(known)
    if low == high:
        return "".join(" " if value is None else BLOCKS[len(BLOCKS) // 2] for value in row)
    step = (high - low) / (len(BLOCKS) - 1)
    return "".join(" " if value is None else BLOCKS[round((value - low) / step)] for value in row)


def periods(named: Sequence[str], over: str) -> list[str]:
    """Return the names of all hours, or days, between the first and the last of those named, the newest ones."""
    if not named:
        return []
    form, step = _FORMATS[over], timedelta(hours=1) if over == "hour" else timedelta(days=1)
    last = datetime.strptime(max(named), form).replace(tzinfo=UTC)
    found = [(last - at * step).strftime(form) for at in range(MOST)]
    return sorted(name for name in found if name >= min(named))


def lines(
    figures: Mapping[tuple[str, ...], Mapping[str, float | None]], over: str, metric: str
) -> dict[tuple[str, ...], str]:
    """Return a sparkline of a metric (of money: in its first currency) for each row. `figures` are by the row's
    dimensions and the hour or day after them.
    """
    asked = periods([row[-1] for row in figures], over)
    found: dict[tuple[str, ...], dict[str, float | None]] = {}
    for row, values in figures.items():
        name = next((one for one in values if one.partition(":")[0] == metric), "")
        found.setdefault(row[:-1], {})[row[-1]] = values.get(name)
    return {row: sparkline(by.get(name) for name in asked) for row, by in found.items()}
