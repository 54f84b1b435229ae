"""`nextclick train session-model`: the session model from recorded traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.training_options import ModelDim, ModelItems, ModelSeed, SettingsFile, Text, TrainEpochs

Events = Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")]
Out = Annotated[Path, typer.Option(help="Folder of artifacts; the model goes into session_model/ in it.")]


def session_model(
    events: Events,
    out: Out,
    items: ModelItems = None,
    columns: Columns = None,
    lists: Lists = None,
    seed: ModelSeed = 1,
    settings: SettingsFile = None,
    dim: ModelDim = None,
    train_epochs: TrainEpochs = None,
    text: Text = None,
) -> None:
    """Train the session model on recorded events."""
    from learning.model_folders import expect_session_model
    from learning.settings_file import training_settings
    from nextclick.show.training import people_of, session_model_watched

    training = training_settings(settings, dim=dim, train_epochs=train_epochs, text=text)
    expect_session_model(out)
    with people_of(events) as learnt:
        session_model_watched(learnt, table_of(items, columns, lists), out, training, seed=seed)
