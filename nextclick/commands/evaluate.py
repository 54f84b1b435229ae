"""`nextclick evaluate`: ranking quality of the code that serves, beside baselines, on recorded sessions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from contracts.outputs import expect_outputs, json_kind, write_output
from nextclick.commands.train_settings import SettingsFile, reranker_settings, training_settings, with_half_life
from retrieval.sources import SWITCHES

if TYPE_CHECKING:
    from evaluation.next_item import Figures
    from nextclick.commands.evaluate_next_item import Plan, Row

NEXT_ITEM = json_kind("the result of `nextclick evaluate next-item`", "machine", "command", "settings", "rows")
STREAM = json_kind("the result of `nextclick evaluate stream`", "machine", "command", "from_hour", "models")
_WIDE = 155
"""Columns that the whole table takes."""


def _console() -> Console:
    """A terminal is as wide as it is; a file or a pipe takes the whole table unless COLUMNS says otherwise."""
    told = Console()
    return told if told.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


console = _console()
evaluate_app = typer.Typer(no_args_is_help=True, help="Measure ranking quality on recorded sessions.")

Out = Annotated[Path | None, typer.Option(help="Write the result here as JSON.")]
Items = Annotated[Path | None, typer.Option(exists=True, help="Items file (.jsonl or .jsonl.zst); none: ids alone.")]
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


@evaluate_app.command("next-item")
def next_item(
    train: Annotated[Path, typer.Option(exists=True, help="One session a line (.txt), or an event log (.jsonl.zst).")],
    test: Annotated[
        Path | None, typer.Option(exists=True, help="As --train; none: the latest sessions of an event log.")
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Measure the baselines too.")] = False,
    items: Items = None,
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
    from eventlog.files import read_items
    from nextclick.commands.evaluate_next_item import Plan, run
    from nextclick.commands.evaluate_reading import read_sessions
    from nextclick.commands.evaluate_work import models_of

    expect_outputs((out, NEXT_ITEM), inputs=[train, test, items, settings])
    training, reranking = training_settings(settings, dim=dim), reranker_settings(settings, half_life_hours)
    with models_of(artifacts, work) as models:
        learnt, later = read_sessions(train, test, held_out, folds=reranking.folds)
        known = dict(read_items(items)) if items is not None else {}
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
        runs = [run(one) for one in _plans(plan, seeds)]
    rows, facts = runs[0]
    for title, which in (("Next item", "all"), ("Without repeats (what the session clicked is left out)", "new")):
        console.print(_table(title, rows, which))
    console.print(_recall(facts))
    console.print(
        f"{facts['known_targets']:.1%} of the targets are items of the training sessions; no other can be told."
    )
    console.print(f"{facts['trees']} trees score 200 rows in {facts['score_us']:.0f} microseconds, on one thread.")
    if seeds > 1:
        facts = {**facts, "runs": _several(runs, range(seed, seed + seeds))}
    if out is not None:
        _write(out, plan, rows, facts)


def _write(out: Path, plan: Plan, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    from nextclick.commands.evaluate_models import write_json

    found = [{"name": row.name, "all": asdict(row.all), "new": asdict(row.new), "seconds": row.seconds} for row in rows]
    told = replace(plan, reranking=with_half_life(plan.reranking, timedelta(hours=facts["half_life_hours"])))
    write_json(out, {"command": sys.argv, "settings": _described(told), **facts, "rows": found}, NEXT_ITEM)


def _plans(plan: Plan, seeds: int) -> list[Plan]:
    """One plan a seed, each with a folder of its own; baselines learn the same every time, so once is enough."""
    return [
        plan if seeds == 1 else replace(plan, seed=one, models=plan.models.of_seed(one), baselines=baselines)
        for one, baselines in zip(range(plan.seed, plan.seed + seeds), [plan.baselines, *[False] * seeds], strict=False)
    ]


def _several(runs: list[tuple[list[Row], dict[str, Any]]], seeds: Sequence[int]) -> list[dict[str, Any]]:
    from nextclick.commands.evaluate_seeds import described, spread_table, spreads

    found = []
    for title, which in (("Next item", "all"), ("Without repeats", "new")):
        rows = spreads([rows for rows, _ in runs], which)
        console.print(spread_table(title, rows, seeds))
        found += described(rows)
    return found


def _table(title: str, rows: list[Row], which: str) -> Table:
    cases = next(iter(getattr(row, which).cases for row in rows), 0)
    if console.width < _WIDE:
        return _narrow_table(f"{title}: {cases:,} cases", rows, which)
    table = Table("", *("P@20", "MRR@20", "NDCG@10"), title=f"{title}: {cases:,} cases, 95% intervals")
    for name in ("coverage", "pop. rank", "diversity", "train s", "ask s"):
        table.add_column(name, justify="right")
    for row in rows:
        figures: Figures = getattr(row, which)
        intervals = (figures.hit_rate, figures.mrr, figures.ndcg)
        table.add_row(
            row.name,
            *(f"{value:.4f} [{low:.3f}, {high:.3f}]" for value, low, high in intervals),
            f"{figures.coverage:.3f}",
            f"{figures.popularity_rank:,.0f}",
            f"{figures.diversity:.3f}",
            *(f"{seconds:.1f}" for seconds in row.seconds),
        )
    return table


def _narrow_table(title: str, rows: list[Row], which: str) -> Table:
    caption = f"Coverage, diversity, seconds: {_WIDE} columns (COLUMNS={_WIDE}), or --out"
    table = Table("", *("P@20", "MRR@20", "NDCG@10"), title=title, caption=caption)
    for row in rows:
        figures: Figures = getattr(row, which)
        intervals = (figures.hit_rate, figures.mrr, figures.ndcg)
        table.add_row(row.name, *(f"{value:.4f}\n[{low:.3f}, {high:.3f}]" for value, low, high in intervals))
    return table


def _recall(facts: dict[str, Any]) -> Table:
    title = f"Share of the targets among the candidates ({facts['candidates']:.0f} a case)"
    table = Table("source", "all", "new items", title=title)
    for name, share in facts["recall"].items():
        table.add_row(name, f"{share:.4f}", f"{facts['recall_new'][name]:.4f}")
    return table


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "sessions": [len(plan.train), len(plan.test)],
        "limit_cases": plan.limit_cases,
        "without": plan.without,
        "training": plan.training.model_dump(mode="json"),
        "reranking": plan.reranking.model_dump(mode="json"),
        "seed": plan.seed,
    }


@evaluate_app.command("stream")
def stream(
    events: Annotated[Path, typer.Argument(exists=True, help="A recorded event log (.jsonl.zst).")],
    from_hour: Annotated[
        int, typer.Option(help="Hour of the log to ask from; models are trained on those before.")
    ] = 48,
    to_hour: Annotated[int | None, typer.Option(help="Hour to stop before; none: the end.")] = None,
    retrain_hours: Annotated[float, typer.Option(help="Train the session model anew after so long; 0: never.")] = 24.0,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="Ask for this share of the clicks, drawn by seed; learn all.")
    ] = 1.0,
    items: Items = None,
    out: Out = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the hourly curves into this HTML file.")] = None,
    half_life_hours: HalfLife = None,
    without: Without = [],  # noqa: B006
    dim: Dim = None,
    settings: SettingsFile = None,
    artifacts: Artifacts = None,
    work: Work = None,
    seed: Seed = 1,
) -> None:
    """Predict every click of a stream from what came before it, then learn it."""
    from eventlog.files import read_items
    from nextclick.commands.evaluate_models import write_json
    from nextclick.commands.evaluate_stream import StreamPlan, figures_of, run_stream, stream_tables
    from nextclick.commands.evaluate_work import models_of
    from nextclick.show.stream_picture import PICTURE, draw

    expect_outputs((out, STREAM), (picture, PICTURE), inputs=[events, items, settings])
    training = training_settings(settings, dim=dim)
    reranking = reranker_settings(settings, half_life_hours)
    known = dict(read_items(items)) if items is not None else {}
    with models_of(artifacts, work) as models:
        plan = StreamPlan(
            events=events,
            items=known,
            models=models,
            from_hour=from_hour,
            to_hour=to_hour,
            retrain_hours=retrain_hours,
            reranking=reranking,
            without=tuple(without),
            training=training,
            seed=seed,
            share=share,
        )
        found, facts = run_stream(plan)
    figures = figures_of(found)
    for table in stream_tables(figures):
        console.print(table)
    if out is not None:
        write_json(out, {"command": sys.argv, **facts, **figures}, STREAM)
    if picture is not None:
        write_output(picture, draw(figures, title=f"{events.name}: next clicks, hour by hour").encode(), PICTURE)
        console.print(f"Picture: {picture}")
