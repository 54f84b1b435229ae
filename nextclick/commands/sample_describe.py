"""`nextclick sample describe`: what recordings are like, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.show.training_bar import TrainingBar

console = Console(highlight=False, soft_wrap=True)


def describe(
    files: Annotated[
        list[Path],
        typer.Argument(help="Event logs (.jsonl.zst), tables SessionId ItemId Time, or files of one session a line."),
    ],
    without_bots: Annotated[
        Path | None, typer.Option(help="A sample's truth.json: sessions that it says are bots' are left out.")
    ] = None,
) -> None:
    """Show how items, visits and users of recordings are distributed, as a table that a page can hold (Markdown)."""
    from nextclick.show.sample_table import sample_table
    from replay.sample.described import bots_of, figures, read_clicks

    left_out = bots_of(without_bots) if without_bots else frozenset[str]()
    found = {}
    with TrainingBar(Console(stderr=True), "reading") as bar:
        for path in files:
            clicks = read_clicks(path, left_out, lambda done, name=path.name: bar.update(name, done))  # type: ignore[misc]
            found[str(path)] = figures(clicks)
    for line in sample_table(found):
        console.print(line, markup=False)
