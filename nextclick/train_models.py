"""`nextclick train models`: session model and re-ranker from one recorded log, so that they fit each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from nextclick.retime import write_first_part
from nextclick.train_reranker import HalfLife, Items, Speed
from nextclick.train_settings import SettingsFile, reranker_settings

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
    from nextclick.train import console, session_model
    from nextclick.train_reranker import reranker

    reranker_settings(settings)  # a mistake in the file is told before the first model is trained, not after
    with TemporaryDirectory(prefix="nextclick-train-") as folder:
        early, first_part = Path(folder) / "early", Path(folder) / "first-part.jsonl.zst"
        write_first_part(recording, FIRST_PART, first_part)
        session_model([first_part], early, items, seed=seed, settings=settings)
        reranker([recording], early, items, half_life_hours=half_life_hours, speed=speed, settings=settings, seed=seed)
        session_model([recording], out, items, seed=seed, settings=settings)
        shutil.rmtree(out / "reranker", ignore_errors=True)
        shutil.copytree(early / "reranker", out / "reranker")
    console.print(f"Both models are in {out}: serve them with `nextclick up --artifacts {out}`", soft_wrap=True)
