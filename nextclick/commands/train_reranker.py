"""`nextclick train reranker`: the re-ranker from recorded traffic, with the session model that will serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from contracts.events import Event
from nextclick.commands.model_folders import RERANKER, expect_reranker
from nextclick.commands.train_settings import SettingsFile, as_replayed, reranker_settings
from nextclick.show.training_bar import TrainingBar
from replay.engine.retime import write_retimed

if TYPE_CHECKING:
    from learning.training import RerankTrainingSettings, Step, TrainedReranker

console = Console()

Events = Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")]
Artifacts = Annotated[
    Path, typer.Option(help="Folder of artifacts: session_model/ is read from it, reranker/ written into it.")
]
Items = Annotated[Path | None, typer.Option(exists=True, help="Items file (.jsonl or .jsonl.zst); none: bare items.")]
HalfLife = Annotated[
    float | None, typer.Option(help="Half-life of the trends that will serve, in hours; none: as in --settings, or 12.")
]
Speed = Annotated[float, typer.Option(help="Learn from the events as they will be replayed: so many times as fast.")]
Groups = Annotated[
    int | None, typer.Option(help="Next clicks to learn from, about; none: as in --settings, or 100,000.")
]
Seed = Annotated[int, typer.Option(help="The same seed and input give the same trees.")]


def reranker(
    events: Events,
    artifacts: Artifacts,
    items: Items = None,
    groups: Groups = None,
    half_life_hours: HalfLife = None,
    speed: Speed = 1.0,
    settings: SettingsFile = None,
    seed: Seed = 1,
) -> None:
    """Train the re-ranker on recorded events: best on ones later than those that the session model learnt from."""
    chosen = reranker_settings(settings, half_life_hours, groups=groups)
    expect_reranker(artifacts)
    reranker_replayed(events, items, artifacts, chosen, speed, seed=seed)


def reranker_replayed(
    events: list[Path],
    items: Path | None,
    artifacts: Path,
    chosen: RerankTrainingSettings,
    speed: float,
    *,
    seed: int,
    serving: Path | None = None,
) -> None:
    """Train on events as they will be replayed, so many times as fast. As `reranker_watched`."""
    with TemporaryDirectory(prefix="nextclick-retimed-") as folder:
        learnt = write_retimed(events, speed, Path(folder)) if speed != 1.0 else events
        reranker_watched(learnt, items, artifacts, as_replayed(chosen, speed), seed=seed, serving=serving)


def reranker_watched(
    events: Sequence[Path] | Sequence[Event],
    items: Path | None,
    artifacts: Path,
    settings: RerankTrainingSettings | None = None,
    *,
    seed: int,
    serving: Path | None = None,
) -> None:
    """Train into `<artifacts>/reranker` with a progress bar, and print what it came to. `serving` is where it is going
    to be, for one that is made elsewhere first.
    """
    from learning.training import train_reranker

    with _Bar(console, "replaying") as bar:
        trained = train_reranker(events, items, artifacts, artifacts / RERANKER, settings, seed=seed, progress=bar.show)
    report(replace(trained, folder=(serving or artifacts) / RERANKER))


def report(trained: TrainedReranker) -> None:
    """Print what training made."""
    title = (
        f"Re-ranker {trained.version}: {trained.trees} trees from {trained.groups:,} next clicks. Before they "
        f"learnt from the latest {trained.checked:,}, of which {trained.recall:.1%} were among "
        f"{trained.candidates:.0f} candidates:"
    )
    table = Table("", "HR@20", "MRR@20", "NDCG@20", title=title)
    for name, figures in (("retrieval order", trained.retrieval_order), ("re-ranked", trained.reranked)):
        table.add_row(name, f"{figures.hit_rate:.4f}", f"{figures.mrr:.4f}", f"{figures.ndcg:.4f}")
    console.print(table)
    strongest = ", ".join(f"{name} {gain:.0%}" for name, gain in list(trained.gains.items())[:8])
    console.print(f"Strongest features by gain: {strongest}")
    console.print(f"Written to {trained.folder}")


class _Bar(TrainingBar):
    def show(self, step: Step) -> None:
        described = {"replay": "replaying", "train": f"trees, NDCG@20 {step.ndcg or 0:.4f}"}
        self.update(described.get(step.stage, "trees, from all clicks"), step.done, step.total)
