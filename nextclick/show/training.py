"""Trainings in the terminal: a progress bar each, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from contracts.events import Event
from contracts.items import Item
from contracts.settings import ServiceSettings
from eventlog.item_tables import ItemTable
from learning.model_folders import RERANKER, expect_reranker, expect_session_model, put_models, reranker_folder
from learning.people import people_in
from learning.settings_file import as_replayed
from learning.training import Step as RerankerStep
from learning.training import TrainedReranker, train_reranker
from learning.training_settings import RerankTrainingSettings
from nextclick.show.training_bar import TrainingBar
from replay.engine.retime import write_first_part, write_retimed
from rerank.ranker import put_beside
from session_model.artifact import SESSION_MODEL
from session_model.encoder import SessionEncoder
from session_model.torch_extra import expect_torch
from session_model.training_settings import Step, TrainingSettings

if TYPE_CHECKING:
    from session_model.training import Trained

console = Console()
FIRST_PART = 0.5
"""Share of the log that the towers know of which the re-ranker learns; its own training counts as long first."""


def session_model_watched(
    events: Sequence[Path] | Iterable[Event],
    items: Path | ItemTable | Mapping[str, Item] | None,
    out: Path,
    training: TrainingSettings,
    *,
    seed: int,
    serving: Path | None = None,
) -> None:
    """Train into `<out>/session_model` with a progress bar, and print what it came to. `serving` is where it is going
    to be, for one that is made elsewhere first.
    """
    expect_torch()
    from session_model.training import train

    with SessionModelBar(console, "reading") as bar:
        trained = train(events, items, training, out / SESSION_MODEL, seed=seed, progress=bar.show)
    report_session_model(replace(trained, folder=(serving or out) / SESSION_MODEL))


@contextmanager
def people_of(recordings: Sequence[Path]) -> Iterator[list[Path]]:
    """Give recordings without the sessions that no human has, and say what was left out."""
    with people_in(recordings, ServiceSettings(), lambda text: console.print(text, highlight=False)) as found:
        yield found


def models_watched(
    recording: Path,
    items: Path | ItemTable | None,
    out: Path,
    training: TrainingSettings,
    reranking: RerankTrainingSettings,
    speed: float = 1.0,
    *,
    seed: int,
    serve: bool = True,
) -> None:
    """Train both models on one recording into `out`, with progress bars. The re-ranker learns from the second half with
    towers that know the first half only. Raises OutputRefused where what lies in `out` is not a model's. `serve`: say
    how they are served from there.
    """
    expect_session_model(out)
    expect_reranker(out)
    with TemporaryDirectory(prefix="nextclick-train-") as folder:
        early, made, first_part = (Path(folder) / name for name in ("early", "models", "first-part.jsonl.zst"))
        write_first_part(recording, FIRST_PART, first_part)
        console.print("First a session model of the first half, for the re-ranker to learn with; it is not kept.")
        session_model_watched([first_part], items, early, training, seed=seed)
        reranker_replayed([recording], items, early, reranking, speed, seed=seed, serving=out)
        session_model_watched([recording], items, made, training, seed=seed, serving=out)
        put_beside(early / RERANKER, SessionEncoder.load(made / SESSION_MODEL).version)
        (early / RERANKER).rename(made / RERANKER)
        put_models(made, out)
    if serve:
        console.print(f"Both models are in {out}: serve them with `nextclick up --artifacts {out}`", soft_wrap=True)


def reranker_replayed(
    events: list[Path],
    items: Path | ItemTable | None,
    artifacts: Path,
    chosen: RerankTrainingSettings,
    speed: float,
    *,
    seed: int,
    serving: Path | None = None,
    name: str = "",
) -> None:
    """Train on events as they will be replayed, so many times as fast. As `reranker_watched`."""
    with TemporaryDirectory(prefix="nextclick-retimed-") as folder:
        learnt = write_retimed(events, speed, Path(folder)) if speed != 1.0 else events
        reranker_watched(learnt, items, artifacts, as_replayed(chosen, speed), seed=seed, serving=serving, name=name)


def reranker_watched(
    events: Sequence[Path] | Sequence[Event],
    items: Path | ItemTable | None,
    artifacts: Path,
    settings: RerankTrainingSettings | None = None,
    *,
    seed: int,
    serving: Path | None = None,
    name: str = "",
) -> None:
    """Train into `<artifacts>/reranker`, or `<artifacts>/rerankers/<name>`, with a progress bar, and print what it came
    to. `serving` is where it is going to be, for one that is made elsewhere first.
    """
    into = reranker_folder(artifacts, name)
    with _RerankerBar(console, "replaying") as bar:
        trained = train_reranker(events, items, artifacts, into, settings, seed=seed, progress=bar.show)
    _report_reranker(replace(trained, folder=reranker_folder(serving or artifacts, name)))


def _report_reranker(trained: TrainedReranker) -> None:
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
    if trained.context or trained.left_out:
        console.print(f"Context learnt: {', '.join(trained.context) or 'none'}")
    for name, why in trained.left_out.items():
        console.print(f"Left out {name}: {why}", soft_wrap=True)
    console.print(f"Written to {trained.folder}")


class _RerankerBar(TrainingBar):
    def show(self, step: RerankerStep) -> None:
        described = {"replay": "replaying", "train": f"trees, NDCG@20 {step.ndcg or 0:.4f}"}
        self.update(described.get(step.stage, "trees, from all clicks"), step.done, step.total)


class SessionModelBar(TrainingBar):
    def show(self, step: Step) -> None:
        if step.stage == "read":
            self.count(step.done)
            return
        loss = "" if step.loss is None else f", loss {step.loss:.3f}"
        mrr = f", MRR@20 {step.mrr:.4f}" if step.mrr else ""
        described = "settling" if step.stage == "settle" else f"train epoch {step.train_epoch}"
        self.update(described + loss + mrr, step.done, step.total)

    def count(self, events: int) -> None:
        self.update("reading", events)

    def compare(self, done: int, total: int) -> None:
        self.update("predicting", done, total)


def report_session_model(trained: Trained) -> None:
    console.print(
        f"Session model {trained.version}: {trained.items:,} items, {trained.sessions:,} sessions, best at train epoch "
        f"{trained.train_epoch}. On the latest sessions: HR@20 {trained.hit_rate:.4f}, MRR@20 {trained.mrr:.4f}."
    )
    console.print(f"Written to {trained.folder}")
