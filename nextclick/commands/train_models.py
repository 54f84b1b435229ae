"""`nextclick train models`: session model and re-ranker from one recorded log, so that they fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.training_options import HalfLife, RerankerItems, SettingsFile, Speed

Recording = Annotated[Path, typer.Argument(exists=True, help="A recorded event log (.jsonl.zst).")]
Out = Annotated[Path, typer.Option(help="Folder of artifacts: session_model/ and reranker/ are written into it.")]


def models(
    recording: Recording,
    out: Out,
    items: RerankerItems = None,
    columns: Columns = None,
    lists: Lists = None,
    half_life_hours: HalfLife = None,
    speed: Speed = 1.0,
    settings: SettingsFile = None,
    seed: Annotated[int, typer.Option(help="The same seed and input give the same models.")] = 1,
) -> None:
    """Train the session model and the re-ranker on one recording.

    The re-ranker learns from the second half with towers that know the first half only: towers that had seen the
    very clicks would look better to it than they are. The towers that serve know everything.
    """
    from learning.settings_file import reranker_settings, training_settings
    from nextclick.show.training import models_watched, people_of

    chosen = reranker_settings(settings, half_life_hours)
    with people_of([recording]) as [learnt]:
        models_watched(
            learnt, table_of(items, columns, lists), out, training_settings(settings), chosen, speed, seed=seed
        )
