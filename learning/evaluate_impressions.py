"""Pages that a site showed, ranked again by what serves, beside the order shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from contracts.events import Event
from evaluation.next_item import Interval, bootstrap
from learning.replay import Towers, TrainingReplay
from learning.shown_pages import COLUMNS, ShownPage, fit, picked, ranks, replay_pages
from learning.stages import Stages
from learning.training import load_towers
from learning.training_settings import RerankTrainingSettings
from rerank.features import FEATURES, column
from retrieval.trends import TrendRules
from session_model.artifact import SESSION_MODEL
from session_model.torch_extra import expect_torch
from session_model.training_settings import TrainingSettings

MIN_PAGES = 10
"""Clicked pages that each part of the log has to have."""


@dataclass(frozen=True, slots=True)
class PageOrder:
    """One way to order pages: its name, MRR and the share of clicks on its first place."""

    name: str
    mrr: Interval
    first: Interval


def rank_again(
    log: Sequence[Event], cuts: tuple[int, int], *, passed_over: int, seed: int, stages: Stages
) -> tuple[list[PageOrder], dict[str, Any]]:
    """Return a row for every way to order the pages of a log, and what else was found. Session models learn from the
    events before the first cut, rankers from those before the second; the rest is asked. Raises SettingsError for too
    few pages.
    """
    with TemporaryDirectory(prefix="nextclick-impressions-") as folder:
        models = _session_models(log[: cuts[0]], Path(folder), passed_over, seed, stages)
        replayed = {name: _replayed(log, towers, name, stages) for name, towers in models.items()}
    return _compared(replayed, cuts, seed, stages)


def _session_models(
    log: Sequence[Event], folder: Path, passed_over: int, seed: int, stages: Stages
) -> dict[str, Towers]:
    """Return no session model, one trained on clicks alone, and one that also learnt what was passed over."""
    expect_torch()
    from session_model.training import train

    found = {"no session model": Towers()}
    for name, most in (("session model", 0), ("session model, passed over", passed_over)):
        settings = TrainingSettings(passed_over=most)
        with stages.stage(name) as shown:
            train(log, None, settings, folder / str(most) / SESSION_MODEL, seed=seed, progress=shown.step)
        found[name] = load_towers(folder / str(most))
    return found


def _replayed(log: Sequence[Event], towers: Towers, name: str, stages: Stages) -> list[ShownPage]:
    settings = RerankTrainingSettings()
    rules = TrendRules(half_life=settings.trend.half_life)
    replay = TrainingReplay(towers, settings.session, settings.pipeline, rules, settings.refresh_events)
    with stages.stage(f"pages, {name}") as shown:
        return list(replay_pages(log, replay, lambda done: shown.show(done, len(log))))


def _compared(
    replayed: dict[str, list[ShownPage]], cuts: tuple[int, int], seed: int, stages: Stages
) -> tuple[list[PageOrder], dict[str, Any]]:
    """Train rankers on the pages between the cuts, and rank those after them."""
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
            for columns, known in ((FEATURES, "as it serves"), (COLUMNS, "with place and price shown")):
                ranker = fit(learn, check, columns, settings, seed=seed)
                gains[f"ranker {known}, {name}"] = _reciprocal(ranks(asked, picked(ranker, columns)))
    figures = np.stack([*gains.values(), *(gain == 1.0 for gain in gains.values())])
    found = bootstrap(figures, sessions, np.random.default_rng(seed))
    rows = [PageOrder(name, found[at], found[at + len(gains)]) for at, name in enumerate(gains)]
    learn, check, asked = _parts(next(iter(replayed.values())), cuts, settings.check_share)
    counted = {"learnt": len(learn), "checked": len(check), "asked": len(asked), "sessions": int(sessions.max()) + 1}
    return rows, {**counted, "changes": _changes(gains, sessions, seed)}


def _parts(
    pages: list[ShownPage], cuts: tuple[int, int], check_share: float
) -> tuple[list[ShownPage], list[ShownPage], list[ShownPage]]:
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


def _changes(gains: dict[str, NDArray[np.float64]], sessions: NDArray[np.int64], seed: int) -> dict[str, Interval]:
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
