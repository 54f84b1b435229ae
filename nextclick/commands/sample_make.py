"""`nextclick sample make`: a year of the synthetic shop as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.show.training_bar import TrainingBar

console = Console(highlight=False, soft_wrap=True)


def make(
    to: Annotated[Path, typer.Option(help="Folder to write into.")],
    users: Annotated[int, typer.Option(help="Users; some sign in, and not each time.")] = 100_000,
    items: Annotated[int, typer.Option(help="Products.")] = 50_000,
    events: Annotated[int, typer.Option(help="Events of all kinds, nearly.")] = 5_000_000,
    days: Annotated[int, typer.Option(help="Days from the first.")] = 365,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same sample.")] = 7,
    start: Annotated[str, typer.Option(help="The first day, in UTC.")] = "2025-01-01",
    bots: Annotated[float, typer.Option(help="Share of the events that bots make.")] = 0.025,
    form: Annotated[
        list[str] | None, typer.Option("--format", help="log (.jsonl.zst), parquet or csv. Repeatable; log if none.")
    ] = None,
) -> None:
    """Write a synthetic shop's items and a year of events, and what was planted in them (truth.json)."""
    from contracts.outputs import expect_outputs
    from nextclick.commands.moments import time_of
    from replay.sample.days import Wanted, sample_of
    from replay.sample.sinks import Places, write_sample

    places = Places(to, tuple(dict.fromkeys(form or ["log"])))
    begin = time_of("--start", start, int(time.time() * 1000)) or 0
    wanted = Wanted(users, items, events, days, seed, begin, bots)
    expect_outputs(*places.outputs())
    with TrainingBar(console, "items and users") as bar:
        sample = sample_of(wanted)
        count = write_sample(sample, places, lambda done: bar.update("events", done, events))
    console.print(
        f"{len(sample.stock):,} items, {count:,} events over {days:,} days, "
        f"{len(sample.bots):,} visits by bots, {len(sample.planned):,} spells: {to}"
    )
