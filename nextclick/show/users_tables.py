"""What `nextclick evaluate users` found, as tables."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from learning.users.evaluate import UsersFound
    from learning.users.judge import Judged


def users_tables(found: UsersFound) -> list[Table]:
    """Return two tables a side: what was right, and what the lists are like."""
    tables = []
    for side, rows in found.rows.items():
        tables += [_right(side, rows, found), _like(side, rows)]
    return tables


def _right(side: str, rows: list[Judged], found: UsersFound) -> Table:
    title = (
        f"{side}: {rows[0].cases:,} cases; {found.facts['visitors_judged']:,} visitors with "
        f"{found.facts['earlier_visits']:.0f} earlier visits (median)"
    )
    caption = "at 20; difference: NDCG to the pipeline alone, 95% interval, paired, over visitors"
    table = Table("", "weight", "own recall@100", "HR", "MRR", "MAP", "NDCG", "difference", "pays", title=title)
    table.caption = caption
    for row in rows:
        less, low, high = row.differences["ndcg"]
        alone = row is rows[0]
        table.add_row(
            row.name,
            "" if alone else f"{row.weight:g}",
            f"{found.recall[side][row.name]:.3f}",
            *(f"{gain.value:.4f}" for gain in row.gains.values()),
            "" if alone else f"{less:+.4f} [{low:+.4f}, {high:+.4f}]",
            "" if alone else ("yes" if row.pays else "no"),
        )
    return table


def _like(side: str, rows: list[Judged]) -> Table:
    what = list(rows[0].gini)
    names = ("diversity", "coverage", "novelty", "serendipity", *(f"Gini, {name}" for name in what))
    table = Table("", *names, title=f"{side}: what the lists are like, first 20")
    for row in rows:
        figures = (row.diversity, row.coverage, row.novelty, row.serendipity, *row.gini.values())
        table.add_row(row.name, *("-" if isnan(figure) else f"{figure:.3f}" for figure in figures))
    return table
