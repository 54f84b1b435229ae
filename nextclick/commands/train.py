"""`nextclick train`: the session model from recorded traffic, the synthetic shop's artifacts, and how good they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import SettingsError
from learning.model_folders import expect_reranker, expect_session_model, put_models
from learning.settings_file import SettingsFile, training_settings
from nextclick.show.training_bar import TrainingBar

if TYPE_CHECKING:
    from contracts.events import Event
    from contracts.items import Item
    from session_model.quality import Quality
    from session_model.training import Step, Trained
    from session_model.training_settings import TrainingSettings

SHOP_SESSIONS = 40_000

train_app = typer.Typer(no_args_is_help=True, help="Train models (needs the `train` extra: torch).")
console = Console()

Events = Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")]
Items = Annotated[Path | None, typer.Option(exists=True, help="Items file (.jsonl or .jsonl.zst); none: ids alone.")]
Out = Annotated[Path, typer.Option(help="Folder of artifacts; the model goes into session_model/ in it.")]
Seed = Annotated[int, typer.Option(help="The same seed and input give the same model.")]
Dim = Annotated[int | None, typer.Option(help="Dimensions of items and sessions.")]
Text = Annotated[
    str | None, typer.Option(help="Text model of titles and descriptions: minilm (the `text` extra), or a folder.")
]
TrainEpochs = Annotated[int | None, typer.Option(help="Passes over the sessions, at most.")]


@train_app.command("session-model")
def session_model(
    events: Events,
    out: Out,
    items: Items = None,
    seed: Seed = 1,
    settings: SettingsFile = None,
    dim: Dim = None,
    train_epochs: TrainEpochs = None,
    text: Text = None,
) -> None:
    """Train the session model on recorded events."""
    training = training_settings(settings, dim=dim, train_epochs=train_epochs, text=text)
    expect_session_model(out)
    session_model_watched(events, items, out, training, seed=seed)


def session_model_watched(
    events: Sequence[Path] | Iterable[Event],
    items: Path | Mapping[str, Item] | None,
    out: Path,
    training: TrainingSettings,
    *,
    seed: int,
    serving: Path | None = None,
) -> None:
    """Train into `<out>/session_model` with a progress bar, and print what it came to. `serving` is where it is going
    to be, for one that is made elsewhere first.
    """
    need_torch()
    from session_model.artifact import SESSION_MODEL
    from session_model.training import train

    with _Bar(console, "reading") as bar:
        trained = train(events, items, training, out / SESSION_MODEL, seed=seed, progress=bar.show)
    _report(replace(trained, folder=(serving or out) / SESSION_MODEL))


@train_app.command("shop")
def shop(
    out: Annotated[Path | None, typer.Option(help="Folder of artifacts; none: where the demo finds them.")] = None,
    sessions: Annotated[int, typer.Option(help="Shoppers to learn from.")] = SHOP_SESSIONS,
) -> None:
    """Rebuild the artifacts of the synthetic shop: session model and re-ranker."""
    import numpy as np

    from eventlog.files import write_items
    from nextclick.show.training import reranker_watched
    from nextclick.stack.shop_models import ARTIFACTS
    from replay.synthetic.shoppers import DAY_MS, DEFAULT_SEED, FIRST_DAY_MS, default_shop, shoppers

    need_torch()
    from session_model.training_settings import TrainingSettings

    out = out or ARTIFACTS
    expect_session_model(out)
    expect_reranker(out)
    catalogue = default_shop()
    past = shoppers(catalogue, sessions, np.random.default_rng(DEFAULT_SEED))
    with TemporaryDirectory(prefix="nextclick-shop-") as folder:
        made, items = Path(folder) / "models", Path(folder) / "items.jsonl.zst"
        known = dict(catalogue.items)
        session_model_watched(past, known, made, TrainingSettings(), seed=DEFAULT_SEED, serving=out)
        # the trees learn from the week after the one that the towers learnt from, as they will serve
        rng, next_week = np.random.default_rng(DEFAULT_SEED + 1), FIRST_DAY_MS + 7 * DAY_MS
        week = list(shoppers(catalogue, sessions, rng, start_ms=next_week))
        write_items(items, catalogue.items)
        reranker_watched(week, items, made, seed=DEFAULT_SEED, serving=out)
        put_models(made, out)


@train_app.command("quality")
def quality(
    events: Annotated[list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst), oldest first.")],
    items: Items = None,
    held_out: Annotated[float, typer.Option(help="Share of the clicks, the latest, to test on.")] = 0.1,
    session_lines: Annotated[
        bool, typer.Option("--session-lines", help="EVENTS are two files, train and test: one session a line.")
    ] = False,
    seed: Seed = 1,
    settings: SettingsFile = None,
    dim: Dim = None,
    train_epochs: TrainEpochs = None,
    text: Text = None,
) -> None:
    """Train on earlier sessions, predict later ones, and compare with co-visitation."""
    from eventlog.files import read_items
    from session_model.quality import compare, read_histories, read_session_lines, split_by_time

    if session_lines and len(events) != 2:
        raise SettingsError(f"expected two files of session lines, train and test, got {len(events)}")
    training = training_settings(settings, dim=dim, train_epochs=train_epochs, text=text)
    need_torch()
    from session_model.training import train_on

    if session_lines:
        learnt, later = read_session_lines(*events)
    else:
        with _Bar(console, "reading") as bar:
            past = read_histories(events, training.session, progress=bar.count)
        learnt, later = split_by_time(past, held_out)
    catalogue = dict(read_items(items)) if items is not None else {}
    with TemporaryDirectory(prefix="nextclick-quality-") as folder, _Bar(console, "reading") as bar:
        trained = train_on(learnt, catalogue, training, Path(folder) / "model", seed=seed, progress=bar.show)
        found = compare(learnt, later, trained.folder, catalogue, progress=bar.compare)
    _report(trained)
    console.print(_table(found))


class _Bar(TrainingBar):
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


def need_torch() -> None:
    """Raise SettingsError where training is not installed."""
    if find_spec("torch") is None:
        raise SettingsError("training needs torch, which serving does without: install the `train` extra")


def _report(trained: Trained) -> None:
    console.print(
        f"Session model {trained.version}: {trained.items:,} items, {trained.sessions:,} sessions, best at train epoch "
        f"{trained.train_epoch}. On the latest sessions: HR@20 {trained.hit_rate:.4f}, MRR@20 {trained.mrr:.4f}."
    )
    console.print(f"Written to {trained.folder}")


def _table(found: list[Quality]) -> Table:
    title = f"Next click, {found[0].cases:,} predictions, {found[0].new_cases:,} of items new to the session"
    table = Table("", "HR@20", "MRR@20", "HR@20 new", "MRR@20 new", title=title)
    for row in found:
        figures = (row.hit_rate, row.mrr, row.new_hit_rate, row.new_mrr)
        table.add_row(row.name, *(f"{figure:.4f}" for figure in figures))
    return table
