"""`nextclick train quality`: how good a session model is, on sessions later than those that it learnt from."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import SettingsError
from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import ModelDim, ModelItems, ModelSeed, SettingsFile, Text, TrainEpochs

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from session_model.quality import Quality

console = Console()


def quality(
    events: Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")],
    items: ModelItems = None,
    columns: Columns = None,
    lists: Lists = None,
    held_out: Annotated[float, typer.Option(help="Share of the clicks, the latest, to test on.")] = 0.1,
    session_lines: Annotated[
        bool, typer.Option("--session-lines", help="EVENTS are two files, train and test: one session a line.")
    ] = False,
    seed: ModelSeed = 1,
    settings: SettingsFile = None,
    dim: ModelDim = None,
    train_epochs: TrainEpochs = None,
    text: Text = None,
) -> None:
    """Train on earlier sessions, predict later ones, and compare with co-visitation."""
    from learning.settings_file import training_settings
    from nextclick.show.training import SessionModelBar, report_session_model
    from session_model.quality import compare, read_histories, read_session_lines, split_by_time
    from session_model.torch_extra import expect_torch

    if session_lines and len(events) != 2:
        raise SettingsError(f"expected two files of session lines, train and test, got {len(events)}")
    training = training_settings(settings, dim=dim, train_epochs=train_epochs, text=text)
    expect_torch()
    from session_model.training import train_on

    if session_lines:
        learnt, later = read_session_lines(*events)
    else:
        with SessionModelBar(console, "reading") as bar:
            past = read_histories(events, training.session, progress=bar.count)
        learnt, later = split_by_time(past, held_out)
    catalogue = known_items(items, columns, lists)
    with TemporaryDirectory(prefix="nextclick-quality-") as folder, SessionModelBar(console, "reading") as bar:
        trained = train_on(learnt, catalogue, training, Path(folder) / "model", seed=seed, progress=bar.show)
        found = compare(learnt, later, trained.folder, catalogue, progress=bar.compare)
    report_session_model(trained)
    console.print(_table(found))


def _table(found: list[Quality]) -> Table:
    title = f"Next click, {found[0].cases:,} predictions, {found[0].new_cases:,} of items new to the session"
    table = Table("", "HR@20", "MRR@20", "HR@20 new", "MRR@20 new", title=title)
    for row in found:
        figures = (row.hit_rate, row.mrr, row.new_hit_rate, row.new_mrr)
        table.add_row(row.name, *(f"{figure:.4f}" for figure in figures))
    return table
