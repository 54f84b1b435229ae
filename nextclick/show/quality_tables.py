"""Checks of the data for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.table import Table

from quality.bias import Share

STYLES: Final = {"bad": "bold red", "warn": "yellow", "ok": "green", "not enough data": "dim"}


@dataclass(frozen=True, slots=True)
class Row:
    """A check as an answer has it; `minute` since 1970 is when a recording was worst."""

    name: str
    of: str
    state: str
    figure: float | None
    threshold: float
    says: str
    minute: int | None = None


def quality_table(rows: Sequence[Row]) -> Table:
    """Return a row a check; with when it was worst where any says so."""
    timed = any(row.minute is not None for row in rows)
    table = Table("check", "state")
    for name in ("figure", "bad from"):
        table.add_column(name, justify="right")
    if timed:
        table.add_column("worst at")
    table.add_column("what to do", overflow="fold")
    for row in rows:
        figure = "" if row.figure is None else f"{row.figure:.2%}"
        when = [_at(row)] if timed else []
        bad_from = f"{row.threshold:.2%}{' or less' if row.name == 'silent' else ''}"
        state = f"[{STYLES[row.state]}]{row.state}[/]" if row.state in STYLES else row.state
        table.add_row(f"{row.name} {row.of}".strip(), state, figure, bad_from, *when, row.says)
    return table


def bias_table(shares: Sequence[Share]) -> Table:
    """Return a row a group: its share of items, of what was shown and of clicks, and its click rate."""
    totals: dict[str, list[int]] = {}
    for share in shares:
        sums = totals.setdefault(share.by, [0, 0, 0])
        for at, count in enumerate((share.items, share.shown, share.clicked)):
            sums[at] += count
    table = Table("by", "group")
    for name in ("items", "shown", "clicks", "click rate"):
        table.add_column(name, justify="right")
    for share in shares:
        counts = (share.items, share.shown, share.clicked)
        parts = [f"{count / total:.1%}" if total else "" for count, total in zip(counts, totals[share.by], strict=True)]
        rate = "" if share.click_rate is None else f"{share.click_rate:.2%}"
        table.add_row(share.by, share.group, *parts, rate)
    return table


def summary(rows: Sequence[Row]) -> str:
    """Say how many checks came out how."""
    counts = Counter(row.state for row in rows)
    found = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    if rows and counts["not enough data"] == len(rows):
        return f"{found}: the flow that counts events runs where NEXTCLICK_QUALITY__RUN is true"
    return found


def _at(row: Row) -> str:
    if row.minute is None or row.state not in ("bad", "warn"):
        return ""
    return datetime.fromtimestamp(60 * row.minute, UTC).strftime("%Y-%m-%d %H:%M")
