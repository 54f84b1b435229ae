"""The options that training commands and evaluations share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from learning.training_settings import RerankTrainingSettings

_HOURS = RerankTrainingSettings().trend.half_life.total_seconds() / 3600

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", exists=True, help="TOML with \\[session_model] and \\[reranker]; `nextclick tune` writes one."
    ),
]
RerankerItems = Annotated[
    Path | None, typer.Option(exists=True, help="Items file, as `items load` takes it; none: bare items.")
]
HalfLife = Annotated[
    float | None,
    typer.Option(help=f"Half-life of the trends that will serve, in hours; none: as in --settings, or {_HOURS:g}."),
]
Speed = Annotated[float, typer.Option(help="Learn from the events as they will be replayed: so many times as fast.")]
ModelItems = Annotated[
    Path | None, typer.Option(exists=True, help="Items file, as `items load` takes it; none: ids alone.")
]
ModelSeed = Annotated[int, typer.Option(help="The same seed and input give the same model.")]
ModelDim = Annotated[int | None, typer.Option(help="Dimensions of items and sessions.")]
Text = Annotated[
    str | None, typer.Option(help="Text model of titles and descriptions: minilm (the `text` extra), or a folder.")
]
TrainEpochs = Annotated[int | None, typer.Option(help="Passes over the sessions, at most.")]
