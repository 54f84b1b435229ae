"""The options that evaluations share, said once: each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrieval.sources import SWITCHES

Out = Annotated[Path | None, typer.Option(help="Write the result here as JSON.")]
Items = Annotated[Path | None, typer.Option(exists=True, help="Items file, as `items load` takes it; none: ids alone.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        help="Use the session models in this folder. A new one, or one that an evaluation made, keeps what is trained, "
        "too; models that serve are only read."
    ),
]
Work = Annotated[
    Path | None, typer.Option(help="Keep what is trained in this folder instead: a new one, or an evaluation's.")
]
Seed = Annotated[int, typer.Option(help="The same seed and input give the same figures.")]
Dim = Annotated[int | None, typer.Option(help="Dimensions of the session model.")]
HalfLife = Annotated[float | None, typer.Option(help="Half-life of the trends in hours.")]
Without = Annotated[
    list[str],
    typer.Option(help=f"Ablation: leave out a candidate source ({', '.join(SWITCHES)}) or a feature, by name."),
]
