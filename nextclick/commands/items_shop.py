"""`nextclick items shop`: the synthetic shop as files, to try commands on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()


def shop(
    folder: Annotated[Path, typer.Argument(help="Folder to write items.jsonl.zst and events.jsonl.zst into.")],
    sessions: Annotated[int, typer.Option(min=1, help="Visits in the events, over a week.")] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop and visits.")] = 7,
    visits_each: Annotated[
        int,
        typer.Option(min=0, help="Visitors who sign in keep their tastes, and come so many times each; 0: neither."),
    ] = 0,
) -> None:
    """Write the synthetic shop's items and recorded visits, for `train`, `evaluate` and `replay` to be tried on."""
    import numpy as np

    from contracts.outputs import expect_outputs
    from eventlog.files import EVENTS, ITEMS
    from replay.synthetic.shoppers import Tastes, make_shop, shoppers, write_shop

    expect_outputs((folder / "items.jsonl.zst", ITEMS), (folder / "events.jsonl.zst", EVENTS))
    folder.mkdir(parents=True, exist_ok=True)
    made = make_shop(np.random.default_rng(seed))
    tastes = Tastes(max(sessions // visits_each, 1)) if visits_each else None
    name = f"shopper-{seed}"  # no id of another seed
    visits = shoppers(made, sessions, np.random.default_rng(seed + 1), name=name, tastes=tastes)
    header = write_shop(made, visits, folder)
    console.print(f"{len(made):,} items and {header.events:,} events of {sessions:,} visits: {folder}", highlight=False)
