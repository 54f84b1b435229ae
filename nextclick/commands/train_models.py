"""`nextclick train models`: session model and re-ranker from one recorded log, so that they fit each other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from nextclick.commands.model_folders import RERANKER, expect_reranker, expect_session_model, put_models
from nextclick.commands.train_reranker import HalfLife, Items, Speed, reranker_replayed
from nextclick.commands.train_settings import SettingsFile, reranker_settings, training_settings
from replay.engine.retime import write_first_part

if TYPE_CHECKING:
    from learning.training import RerankTrainingSettings
    from session_model.training_settings import TrainingSettings

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
    models_watched(
        recording,
        out,
        items,
        training_settings(settings),
        reranker_settings(settings, half_life_hours),
        speed=speed,
        seed=seed,
    )


def models_watched(
    recording: Path,
    out: Path,
    items: Path | None,
    training: TrainingSettings,
    reranking: RerankTrainingSettings,
    *,
    speed: float,
    seed: int,
) -> None:
    """Train both into `out` with progress bars, and print what they came to. Raises OutputRefused for a foreign folder
    in their place.
    """
    from nextclick.commands.train import console, session_model_watched

    expect_session_model(out)
    expect_reranker(out)
    with TemporaryDirectory(prefix="nextclick-train-") as folder:
        early, made, first_part = (Path(folder) / name for name in ("early", "models", "first-part.jsonl.zst"))
        write_first_part(recording, FIRST_PART, first_part)
        session_model_watched([first_part], items, early, training, seed=seed)
        reranker_replayed([recording], items, early, reranking, speed, seed=seed, serving=out)
        session_model_watched([recording], items, made, training, seed=seed, serving=out)
        (early / RERANKER).rename(made / RERANKER)
        put_models(made, out)
    console.print(f"Both models are in {out}: serve them with `nextclick up --artifacts {out}`", soft_wrap=True)
