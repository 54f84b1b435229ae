"""What evaluations found, as tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from learning.seeds import MEASURES, Spread

if TYPE_CHECKING:
    from evaluation.next_item import NextItemMetrics
    from learning.evaluate_impressions import PageOrder
    from learning.evaluate_next_item import Row

WIDE = 155
"""Columns that the whole table takes."""


def evaluation_console() -> Console:
    """A terminal is as wide as it is; a file or a pipe takes the whole table unless COLUMNS says otherwise."""
    usual = Console()
    return usual if usual.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)


def next_item_table(console: Console, title: str, rows: list[Row], which: str) -> Table:
    cases = next(iter(getattr(row, which).cases for row in rows), 0)
    if console.width < WIDE:
        return _narrow_table(f"{title}: {cases:,} cases", rows, which)
    table = Table("", *("P@20", "MRR@20", "NDCG@10"), title=f"{title}: {cases:,} cases, 95% intervals")
    for name in ("coverage", "pop. rank", "diversity", "train s", "ask s"):
        table.add_column(name, justify="right")
    for row in rows:
        figures: NextItemMetrics = getattr(row, which)
        intervals = (figures.hit_rate, figures.mrr, figures.ndcg)
        table.add_row(
            row.name,
            *(f"{value:.4f} [{low:.3f}, {high:.3f}]" for value, low, high in intervals),
            f"{figures.coverage:.3f}",
            f"{figures.popularity_rank:,.0f}",
            f"{figures.diversity:.3f}",
            *(f"{seconds:.1f}" for seconds in row.seconds),
        )
    return table


def _narrow_table(title: str, rows: list[Row], which: str) -> Table:
    caption = f"Coverage, diversity, seconds: {WIDE} columns (COLUMNS={WIDE}), or --out"
    table = Table("", *("P@20", "MRR@20", "NDCG@10"), title=title, caption=caption)
    for row in rows:
        figures: NextItemMetrics = getattr(row, which)
        intervals = (figures.hit_rate, figures.mrr, figures.ndcg)
        table.add_row(row.name, *(f"{value:.4f}\n[{low:.3f}, {high:.3f}]" for value, low, high in intervals))
    return table


def recall_table(facts: dict[str, Any]) -> Table:
    title = f"Share of the targets among the candidates ({facts['candidates']:.0f} a case)"
    table = Table("source", "all", "new items", title=title)
    for name, share in facts["recall"].items():
        table.add_row(name, f"{share:.4f}", f"{facts['recall_new'][name]:.4f}")
    return table


def spread_table(title: str, rows: Sequence[Spread], seeds: Sequence[int]) -> Table:
    """Show the rows as mean and standard deviation."""
    shown = ", ".join(map(str, seeds))
    table = Table("", "P@20", "MRR@20", "NDCG@10", title=f"{title}: mean and standard deviation of seeds {shown}")
    for row in rows:
        table.add_row(row.name, *(f"{row.mean(one):.4f} ± {row.deviation(one):.4f}" for one in MEASURES))
    return table


def stream_tables(figures: dict[str, Any]) -> list[Table]:
    """Return the figures as tables: overall and by day."""
    title = f"Next click, {figures['cases']:,} predictions; {figures['new_cases']:,} of items under one hour old"
    overall = Table("", "HR@10", "MRR@10", "HR@10 new", "MRR@10 new", title=title)
    days = list(next(iter(figures["models"].values()))["by_day"])
    by_day = Table("MRR@10", *(f"day {int(day) + 1}" for day in days))
    for name, model in figures["models"].items():
        pairs = (model["all"], model["new"])
        overall.add_row(name, *(f"{pair[key]:.4f}" for pair in pairs for key in ("hit_rate", "mrr")))
        by_day.add_row(name, *(f"{model['by_day'][day]['mrr']:.4f}" for day in days))
    return [overall, by_day]


def impressions_table(rows: list[PageOrder], facts: dict[str, Any]) -> Table:
    title = (
        f"Pages shown, ranked again: {facts['asked']:,} clicks of {facts['sessions']:,} sessions, rankers trained on "
        f"{facts['learnt']:,} before them; 95% intervals"
    )
    table = Table("", "MRR", "first place", title=title)
    for row in rows:
        shown = (f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in (row.mrr, row.first))
        table.add_row(row.name, *shown)
    return table
