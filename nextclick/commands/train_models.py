"""`nextclick train models`: session model and re-ranker from one recorded log, so that they fit each other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from learning.model_folders import RERANKER, expect_reranker, expect_session_model, put_models
from learning.settings_file import SettingsFile, reranker_settings, training_settings
from nextclick.show.training import HalfLife, Items, Speed, reranker_replayed
from replay.engine.retime import write_first_part

FIRST_PART = 0.5
"""Share of the log that the towers know of which the re-ranker learns; its own training counts as long first."""

Recording = Annotated[Path, typer.Argument(exists=True, help="A recorded event log (.jsonl.zst).")]
Out = Annotated[Path, typer.Option(help="Folder of artifacts: session_model/ and reranker/ are written into it.")]


def models(
    recording: Recording,
    out: Out,
    items: Items = None,
    half_life_hours: HalfLife = None,
    speed: Speed = 1.0,
    settings: SettingsFile = None,
    seed: Annotated[int, typer.Option(help="The same seed and input give the same models.")] = 1,
) -> None:
    """Train the session model and the re-ranker on one recording.

    The re-ranker learns from the second half with towers that know the first half only: towers that had seen the
    very clicks would look better to it than they are. The towers that serve know everything.
    """
    from nextclick.commands.train import console, session_model_watched

    training = training_settings(settings)
    chosen = reranker_settings(settings, half_life_hours)
    expect_session_model(out)
    expect_reranker(out)
    with TemporaryDirectory(prefix="nextclick-train-") as folder:
        early, made, first_part = (Path(folder) / name for name in ("early", "models", "first-part.jsonl.zst"))
        write_first_part(recording, FIRST_PART, first_part)
        session_model_watched([first_part], items, early, training, seed=seed)
        reranker_replayed([recording], items, early, chosen, speed, seed=seed, serving=out)
        session_model_watched([recording], items, made, training, seed=seed, serving=out)
        (early / RERANKER).rename(made / RERANKER)
        put_models(made, out)
    console.print(f"Both models are in {out}: serve them with `nextclick up --artifacts {out}`", soft_wrap=True)
