"""`nextclick evaluate impressions`: pages that a site showed, ranked again by what serves, beside the order shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.events import Event
    from evaluation.next_item import Interval
    from learning.replay import Towers
    from learning.shown_pages import Page
    from nextclick.commands.evaluate_models import Stages

console = Console()
IMPRESSIONS = json_kind("the result of `nextclick evaluate impressions`", "machine", "passed_over", "rows", "seconds")
MIN_PAGES = 10
"""Clicked pages that each part of the log has to have."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to order pages: its name, MRR and the share of clicks on its first place."""

    name: str
    mrr: Interval
    first: Interval


def impressions(
    events: Annotated[
        list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst) with impressions, oldest first.")
    ],
    train_share: Annotated[float, typer.Option(help="First share of the events: session models learn from it.")] = 0.5,
    rank_share: Annotated[float, typer.Option(help="Next share: the rankers learn from it. The rest is asked.")] = 0.25,
    passed_over: Annotated[int, typer.Option(help="Items shown above a click that are its negatives, at most.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and input give the same figures.")] = 1,
) -> None:
    """Rank the items of pages again, with and without session models that learnt what was passed over."""
    from eventlog.files import read_events
    from nextclick.commands.evaluate_models import Stages, write_json

    expect_outputs((out, IMPRESSIONS), inputs=events)
    stages = Stages()
    with stages.stage("reading"):
        log = list(chain.from_iterable(read_events(path) for path in events))
    cuts = (int(len(log) * train_share), int(len(log) * (train_share + rank_share)))
    with TemporaryDirectory(prefix="nextclick-impressions-") as folder:
        models = _session_models(log[: cuts[0]], Path(folder), passed_over, seed, stages)
        replayed = {name: _replayed(log, towers, name, stages) for name, towers in models.items()}
    rows, facts = _weigh(replayed, cuts, seed, stages)
    console.print(_table(rows, facts))
    for name, change in facts["changes"].items():
        console.print(f"{name}: MRR {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]", highlight=False)
    if out is not None:
        told = [{"name": row.name, "mrr": row.mrr, "first": row.first} for row in rows]
        asked = {"passed_over": passed_over, "seed": seed, "events": len(log), "cuts": cuts}
        write_json(out, {"command": sys.argv, **asked, **facts, "rows": told, "seconds": stages.seconds}, IMPRESSIONS)


def _session_models(
    log: Sequence[Event], folder: Path, passed_over: int, seed: int, stages: Stages
) -> dict[str, Towers]:
    """Return no session model, one trained on clicks alone, and one that also learnt what was passed over."""
    from learning.replay import Towers
    from learning.training import load_towers
    from nextclick.commands.train import need_torch
    from session_model.artifact import SESSION_MODEL

    need_torch()
    from session_model.training import TrainingSettings, train

    found = {"no session model": Towers()}
    for name, most in (("session model", 0), ("session model, passed over", passed_over)):
        settings = TrainingSettings(passed_over=most)
        with stages.stage(name) as shown:
            train(log, None, settings, folder / str(most) / SESSION_MODEL, seed=seed, progress=shown.step)
        found[name] = load_towers(folder / str(most))
    return found


def _replayed(log: Sequence[Event], towers: Towers, name: str, stages: Stages) -> list[Page]:
    from learning.replay import TrainingReplay
    from learning.shown_pages import replay_pages
    from learning.training import RerankTrainingSettings
    from retrieval.trends import TrendRules

    settings = RerankTrainingSettings()
    rules = TrendRules(half_life=settings.trend.half_life)
    replay = TrainingReplay(towers, settings.session, settings.pipeline, rules, settings.refresh_events)
    with stages.stage(f"pages, {name}") as shown:
        return list(replay_pages(log, replay, lambda done: shown.show(done, len(log))))


def _weigh(
    replayed: dict[str, list[Page]], cuts: tuple[int, int], seed: int, stages: Stages
) -> tuple[list[Row], dict[str, Any]]:
    """Train rankers on the pages between the cuts, and rank those after them."""
    from evaluation.next_item import bootstrap
    from learning.shown_pages import COLUMNS, fit, picked, ranks
    from learning.training import RerankTrainingSettings
    from rerank.features import FEATURES, column

    settings = RerankTrainingSettings()
    gains: dict[str, NDArray[np.float64]] = {}
    sessions = np.zeros(0, np.int64)
    for name, pages in replayed.items():
        learn, check, asked = _parts(pages, cuts, settings.check_share)
        if not gains:
            numbers = {session: at for at, session in enumerate(dict.fromkeys(page.session_id for page in asked))}
            sessions = np.array([numbers[page.session_id] for page in asked])
            gains["order shown"] = _reciprocal(np.array([page.shown_rank for page in asked]))
        else:
            nearest = ranks(asked, lambda rows: column(rows, "query_similarity", COLUMNS))
            gains[f"nearest to the session, {name}"] = _reciprocal(nearest)
        with stages.stage(f"rankers, {name}"):
            for columns, told in ((FEATURES, "as it serves"), (COLUMNS, "with place and price shown")):
                ranker = fit(learn, check, columns, settings, seed=seed)
                gains[f"ranker {told}, {name}"] = _reciprocal(ranks(asked, picked(ranker, columns)))
    figures = np.stack([*gains.values(), *(gain == 1.0 for gain in gains.values())])
    found = bootstrap(figures, sessions, np.random.default_rng(seed))
    rows = [Row(name, found[at], found[at + len(gains)]) for at, name in enumerate(gains)]
    learn, check, asked = _parts(next(iter(replayed.values())), cuts, settings.check_share)
    counted = {"learnt": len(learn), "checked": len(check), "asked": len(asked), "sessions": int(sessions.max()) + 1}
    return rows, {**counted, "changes": _changes(gains, sessions, seed, bootstrap)}


def _parts(pages: list[Page], cuts: tuple[int, int], check_share: float) -> tuple[list[Page], list[Page], list[Page]]:
    between = [page for page in pages if cuts[0] <= page.number < cuts[1]]
    asked = [page for page in pages if page.number >= cuts[1]]
    first = len(between) - int(len(between) * check_share)
    learn, check = between[:first], between[first:]
    if min(len(learn), len(check), len(asked)) < MIN_PAGES:
        raise SettingsError(
            f"expected at least {MIN_PAGES} pages with a click that names them by request_id to learn from, to check "
            f"on and to ask for, got {len(learn)}, {len(check)} and {len(asked)}: give a longer log, or other shares"
        )
    return learn, check, asked


def _reciprocal(places: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(places > 0, 1.0 / np.maximum(places, 1), 0.0)


def _changes(
    gains: dict[str, NDArray[np.float64]], sessions: NDArray[np.int64], seed: int, bootstrap: Callable[..., Any]
) -> dict[str, Interval]:
    """Return what each step changed, case by case, with its interval."""
    shown = "ranker with place and price shown"
    pairs = {
        "place and price shown": (f"{shown}, no session model", "order shown"),
        "the session model beside them": (f"{shown}, session model", f"{shown}, no session model"),
        "what was passed over, in that ranker": (f"{shown}, session model, passed over", f"{shown}, session model"),
        "what was passed over, nearest alone": (
            "nearest to the session, session model, passed over",
            "nearest to the session, session model",
        ),
    }
    differences = [gains[after] - gains[before] for after, before in pairs.values()]
    found = bootstrap(np.stack(differences), sessions, np.random.default_rng(seed))
    return dict(zip(pairs, found, strict=True))


def _table(rows: list[Row], facts: dict[str, Any]) -> Table:
    title = (
        f"Pages shown, ranked again: {facts['asked']:,} clicks of {facts['sessions']:,} sessions, rankers trained on "
        f"{facts['learnt']:,} before them; 95% intervals"
    )
    table = Table("", "MRR", "first place", title=title)
    for row in rows:
        told = (f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in (row.mrr, row.first))
        table.add_row(row.name, *told)
    return table
