"""The options that commands which ask scenarios on a recording share, said once; and the asking."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from nextclick.show.stages import BarStages, warn
from nextclick.stack.options import url_option

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.items import Item
    from eventlog.item_tables import ItemTable
    from learning.scenario_figures import Judged
    from learning.scenario_pages import AskedPages

LEAST_VISITS: Final = 30
"""Visits that are resampled for an interval: of fewer, its ends are those of single visits."""
MOST_MISSING: Final = 0.1
"""Share of next clicks on items that the items file does not have, from which on it is said."""
USER: Final = "user."
Recording = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recorded event log (.jsonl.zst).")]
Items = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Items file, as `items load` takes it: prices, brands, suppliers."),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        exists=True, file_okay=False, help="Folder of the models that serve; none: the general model, as in serving."
    ),
]
Questions = Annotated[int, typer.Option(min=1, max=1_000_000, help="Next clicks that are asked for, at most.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="Items of a page.")]
WarmUp = Annotated[
    float, typer.Option(min=0.0, max=0.99, help="First share of the events: learnt from, not asked for.")
]
Seed = Annotated[int, typer.Option(help="The same seed and input give the same figures.")]
Url = Annotated[str | None, url_option("A running gateway, for scenarios and bases that are given by name.")]


def judged(
    console: Console,
    named: Sequence[str],
    recording: Path,
    *,
    items: ItemTable | None,
    artifacts: Path | None,
    questions: int,
    limit: int,
    warm_up: float,
    seed: int,
    url: str | None,
    stages: BarStages,
    reads: Collection[str] = (),
) -> list[Judged]:
    """Ask scenarios, given as files or by name, on a recording, and return each one's figures.

    `reads`: fields of users that are read of the pages besides, which a recording does not tell.
    """
    from learning.model_folders import RERANKER
    from learning.replay import Towers
    from learning.scenario_figures import Judged
    from learning.scenario_pages import Asking, ask
    from learning.training import load_towers
    from learning.training_settings import RerankTrainingSettings
    from nextclick.stack.scenario_files import find_scenario
    from rerank.ranker import Ranker
    from rerank.rankers import Rankers
    from session_model.general import general_encoder, general_tower

    scenarios = [find_scenario(one, url, None) for one in named]
    if items is None:
        warn(console, "No --items: prices, margins, brands and suppliers are unknown, and so is what is made of them.")
    if artifacts is None:
        warn(console, "No --artifacts: pages come from the general model, which serves a shop without trained ones.")
    if any(one.scenario.fatigue is not None for one in scenarios):
        warn(console, "Fatigue is not replayed: a recording does not say what these scenarios showed before.")
    users = sorted({name for one in scenarios for name in one.names if name.startswith(USER)} | set(reads))
    if users:
        warn(console, f"Users are not replayed: {', '.join(users)} {'is' if len(users) == 1 else 'are'} unknown.")
    ranker = None if artifacts is None else artifacts / RERANKER
    rankers = Rankers("" if artifacts is None else str(artifacts), time.monotonic)
    asking = Asking(
        events=recording,
        items={} if items is None else dict(items.read()),
        scenarios=scenarios,
        towers=Towers(general_encoder(), general_tower()) if artifacts is None else load_towers(artifacts),
        ranker=Ranker.load(ranker) if ranker is not None and ranker.exists() else None,
        rankers=rankers.load,
        settings=RerankTrainingSettings(),
        questions=questions,
        limit=limit,
        warm_up=warm_up,
        seed=seed,
    )
    asked = ask(asking, stages)
    for text in _thin(asked, asking.items):
        warn(console, text)
    return [Judged(asked, number, limit) for number in range(len(scenarios))]


def _thin(asked: AskedPages, items: Mapping[str, Item]) -> list[str]:
    """Return what of a recording, or of its items file, makes the figures say little."""
    found, pages = [], len(asked.target)
    visits = len(set(asked.session.tolist()))
    if visits < LEAST_VISITS:
        found.append(
            f"Only {pages:,} pages of {visits:,} visits could be asked: with fewer than {LEAST_VISITS} visits "
            "intervals say nothing. Give a longer recording, a smaller --warm-up, or more --questions."
        )
    if items:
        known = [row >= 0 and asked.catalogue.item_ids[row] in items for row in asked.target.tolist()]
        missing = pages - sum(known)
        if missing >= MOST_MISSING * pages:
            found.append(
                f"{missing:,} of {pages:,} next clicks are on items that --items does not have: no page can show them. "
                "Give the catalogue of the recording's time, and look at --map item_id=COLUMN."
            )
    return found


def labels(named: Sequence[str]) -> list[str]:
    """Return what scenarios are called in a table: the name, or a file's name without what it ends with."""
    return [Path(one).stem if Path(one).is_file() else one for one in named]
