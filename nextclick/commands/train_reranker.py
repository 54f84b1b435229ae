"""`nextclick train reranker`: the re-ranker from recorded traffic, with the session model that will serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from learning.training_settings import RerankTrainingSettings
from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.training_options import HalfLife, RerankerItems, SettingsFile, Speed

DEFAULT = RerankTrainingSettings()

Events = Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")]
Artifacts = Annotated[
    Path, typer.Option(help="Folder of artifacts: session_model/ is read from it, reranker/ written into it.")
]
Name = Annotated[
    str, typer.Option("--as", help="Write it as rerankers/NAME instead: a scenario may then name it as its `ranker`.")
]
Groups = Annotated[
    int | None, typer.Option(help=f"Next clicks to learn from, about; none: as in --settings, or {DEFAULT.groups:,}.")
]
Seed = Annotated[int, typer.Option(help="The same seed and input give the same trees.")]


def reranker(
    events: Events,
    artifacts: Artifacts,
    items: RerankerItems = None,
    columns: Columns = None,
    lists: Lists = None,
    groups: Groups = None,
    half_life_hours: HalfLife = None,
    speed: Speed = 1.0,
    settings: SettingsFile = None,
    seed: Seed = 1,
    name: Name = "",
) -> None:
    """Train the re-ranker on recorded events: best on ones later than those that the session model learnt from."""
    from learning.model_folders import expect_reranker
    from learning.settings_file import reranker_settings
    from nextclick.show.training import people_of, reranker_replayed

    chosen = reranker_settings(settings, half_life_hours, groups=groups)
    expect_reranker(artifacts, name)
    with people_of(events) as learnt:
        reranker_replayed(learnt, table_of(items, columns, lists), artifacts, chosen, speed, seed=seed, name=name)
