"""`nextclick train user-tower`: the user tower from recorded traffic, beside a session model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import ModelItems, ModelSeed, SettingsFile

console = Console()


def user_tower(
    events: Annotated[Path, typer.Argument(exists=True, help="A recorded event log (.jsonl.zst) with user ids.")],
    artifacts: Annotated[
        Path, typer.Option(help="Folder of artifacts: session_model/ is read from it, user_tower/ written into it.")
    ],
    items: ModelItems = None,
    columns: Columns = None,
    lists: Lists = None,
    dense: Annotated[bool, typer.Option("--dense", help="The dense layers of the settings: 1024, 512, 128.")] = False,
    settings: SettingsFile = None,
    seed: ModelSeed = 1,
) -> None:
    """Train the user tower on recorded visits. `evaluate users` tells whether it pays; nothing serves it yet."""
    from learning.settings_file import user_settings
    from learning.users.train_tower import train_tower
    from nextclick.show.stages import BarStages

    known = known_items(items, columns, lists)
    with BarStages(console).stage("user tower") as shown:
        trained = train_tower(
            events, known, artifacts, user_settings(settings), seed=seed, dense=dense, progress=shown.show
        )
    console.print(f"user tower {trained.version}, {trained.moments:,} moments learnt from: {trained.folder}")
