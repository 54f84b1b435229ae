"""`nextclick evaluate next-item`: ranking quality of the code that serves, beside baselines, on recorded sessions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.outputs import expect_outputs, json_kind
from learning.settings_file import reranker_settings, training_settings, with_half_life
from nextclick.commands.evaluate_options import Artifacts, Dim, HalfLife, Items, Out, Seed, Without, Work
from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import SettingsFile
from nextclick.show.evaluation_tables import evaluation_console, next_item_table, recall_table, spread_table
from nextclick.show.results import write_result
from nextclick.show.stages import BarStages, warn

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from learning.evaluate_next_item import Plan, Row

console = evaluation_console()
NEXT_ITEM = json_kind("the result of `nextclick evaluate next-item`", "machine", "command", "settings", "rows")


def next_item(
    train: Annotated[Path, typer.Option(exists=True, help="One session a line (.txt), or an event log (.jsonl.zst).")],
    test: Annotated[
        Path | None, typer.Option(exists=True, help="As --train; none: the latest sessions of an event log.")
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Measure the baselines too.")] = False,
    items: Items = None,
    columns: Columns = None,
    lists: Lists = None,
    out: Out = None,
    limit_cases: Annotated[int | None, typer.Option(min=1, help="Draw so many cases; none: all.")] = None,
    held_out: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.9, help="Without --test: share of the sessions to test on; none: a tenth."),
    ] = None,
    half_life_hours: HalfLife = None,
    without: Without = [],  # noqa: B006
    dim: Dim = None,
    settings: SettingsFile = None,
    artifacts: Artifacts = None,
    work: Work = None,
    seed: Seed = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Train so many times, from --seed on: mean and spread.")] = 1,
) -> None:
    """Predict every next item of the test sessions from what came before it; all items are ranked."""
    from learning.evaluate_next_item import Plan, run
    from learning.reading import read_sessions
    from learning.work_folder import models_of

    expect_outputs((out, NEXT_ITEM), inputs=[train, test, items, settings])
    training, reranking = training_settings(settings, dim=dim), reranker_settings(settings, half_life_hours)
    with models_of(artifacts, work, tell=partial(warn, console)) as models:
        learnt, later = read_sessions(
            train, test, held_out, folds=reranking.folds, with_context=bool(reranking.context)
        )
        known = known_items(items, columns, lists)
        plan = Plan(
            train=learnt,
            test=later,
            items=known,
            models=models,
            baselines=baselines,
            limit_cases=limit_cases,
            without=tuple(without),
            training=training,
            reranking=reranking,
            seed=seed,
        )
        runs = [run(one, BarStages(console)) for one in _plans(plan, seeds)]
    rows, facts = runs[0]
    _show(rows, facts)
    if seeds > 1:
        facts = {**facts, "runs": _several(runs, range(seed, seed + seeds))}
    if out is not None:
        found = [
            {"name": row.name, "all": asdict(row.all), "new": asdict(row.new), "seconds": row.seconds} for row in rows
        ]
        as_run = replace(plan, reranking=with_half_life(plan.reranking, timedelta(hours=facts["half_life_hours"])))
        write_result(out, {"command": sys.argv, "settings": _described(as_run), **facts, "rows": found}, NEXT_ITEM)


def _show(rows: list[Row], facts: dict[str, Any]) -> None:
    for title, which in (("Next item", "all"), ("Without repeats (what the session clicked is left out)", "new")):
        console.print(next_item_table(console, title, rows, which))
    console.print(recall_table(facts))
    console.print(
        f"{facts['known_targets']:.1%} of the targets are items of the training sessions; no other can be told."
    )
    console.print(f"{facts['trees']} trees score 200 rows in {facts['score_us']:.0f} microseconds, on one thread.")


def _plans(plan: Plan, seeds: int) -> list[Plan]:
    """One plan a seed, each with a folder of its own; baselines learn the same every time, so once is enough."""
    return [
        plan if seeds == 1 else replace(plan, seed=one, models=plan.models.of_seed(one), baselines=baselines)
        for one, baselines in zip(range(plan.seed, plan.seed + seeds), [plan.baselines, *[False] * seeds], strict=False)
    ]


def _several(runs: list[tuple[list[Row], dict[str, Any]]], seeds: Sequence[int]) -> list[dict[str, Any]]:
    from learning.seeds import described, spreads

    found = []
    for title, which in (("Next item", "all"), ("Without repeats", "new")):
        rows = spreads([rows for rows, _ in runs], which)
        console.print(spread_table(title, rows, seeds))
        found += described(rows)
    return found


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "sessions": [len(plan.train), len(plan.test)],
        "limit_cases": plan.limit_cases,
        "without": plan.without,
        "training": plan.training.model_dump(mode="json"),
        "reranking": plan.reranking.model_dump(mode="json"),
        "seed": plan.seed,
    }
