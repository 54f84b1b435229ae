"""`nextclick features`: the reference of the re-ranker's features."""

from __future__ import annotations

from rich.console import Console

console = Console()


def features() -> None:
    """Print every feature of the re-ranker, its formula, its range and what NaN means, as Markdown."""
    from nextclick.show.features_table import features_table

    console.print(features_table(), markup=False, soft_wrap=True, highlight=False)
