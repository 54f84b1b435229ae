"""`nextclick evaluate users`: user models beside the session pipeline, for visitors with a history."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind
from learning.settings_file import reranker_settings, training_settings, user_settings
from learning.users.settings import EVERY, ModelName
from nextclick.commands.evaluate_options import Artifacts, Dim, HalfLife, Items, Out, Seed, Work
from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import SettingsFile
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.results import write_result
from nextclick.show.stages import BarStages, warn

console = evaluation_console()
USERS = json_kind("the result of `nextclick evaluate users`", "machine", "command", "train_days", "rows")


def users(
    events: Annotated[Path, typer.Argument(exists=True, help="A recorded event log (.jsonl.zst) with user ids.")],
    items: Items = None,
    columns: Columns = None,
    lists: Lists = None,
    model: Annotated[
        list[str], typer.Option(help=f"Only these models: {', '.join(EVERY)}; none: all. May be repeated.")
    ] = [],  # noqa: B006
    train_days: Annotated[float, typer.Option(min=0.01, help="First days of the log: models learn from them.")] = 4.0,
    tune_days: Annotated[float, typer.Option(min=0.01, help="Days after them: weights are chosen on them.")] = 1.0,
    visitors: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="Read only this share of the visitors, drawn by seed.")
    ] = 1.0,
    limit_cases: Annotated[int, typer.Option(min=20, help="Judge so many arrivals and later clicks, at most.")] = 4000,
    half_life_hours: HalfLife = None,
    dim: Dim = None,
    settings: SettingsFile = None,
    artifacts: Artifacts = None,
    work: Work = None,
    out: Out = None,
    seed: Seed = 1,
) -> None:
    """Judge user models beside the session pipeline, on later visits of visitors with a history."""
    from learning.users.evaluate import UsersPlan, run_users
    from learning.work_folder import models_of
    from nextclick.show.users_tables import users_tables

    names = _names(model)
    expect_outputs((out, USERS), inputs=[events, items, settings])
    with models_of(artifacts, work, tell=partial(warn, console)) as models:
        plan = UsersPlan(
            events=events,
            items=known_items(items, columns, lists),
            models=models,
            names=names,
            train_days=train_days,
            tune_days=tune_days,
            visitors=visitors,
            limit_cases=limit_cases,
            training=training_settings(settings, dim=dim),
            reranking=reranker_settings(settings, half_life_hours),
            users=user_settings(settings),
            seed=seed,
        )
        found = run_users(plan, BarStages(console))
    for table in users_tables(found):
        console.print(table)
    if out is not None:
        rows = {side: [asdict(row) for row in judged] for side, judged in found.rows.items()}
        asked = {name: getattr(plan, name) for name in ("train_days", "tune_days", "visitors", "seed")}
        result = {**asked, "settings": plan.users.model_dump(mode="json"), **found.facts, "recall": found.recall}
        write_result(out, {"command": sys.argv, **result, "rows": rows}, USERS)


def _names(given: list[str]) -> tuple[ModelName, ...]:
    wrong = [name for name in given if name not in EVERY]
    if wrong:
        raise SettingsError(f"expected --model to be one of {', '.join(EVERY)}, got {wrong[0]!r}")
    return tuple(name for name in EVERY if not given or name in given)
