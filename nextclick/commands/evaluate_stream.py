"""`nextclick evaluate stream`: every click of a recorded stream predicted from what came before it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from contracts.outputs import expect_outputs, json_kind, write_output
from learning.settings_file import reranker_settings, training_settings
from nextclick.commands.evaluate_options import Artifacts, Dim, HalfLife, Items, Out, Seed, Without, Work
from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import SettingsFile
from nextclick.show.evaluation_tables import evaluation_console, stream_tables
from nextclick.show.results import write_result
from nextclick.show.stages import BarStages, warn

console = evaluation_console()
STREAM = json_kind("the result of `nextclick evaluate stream`", "machine", "command", "from_hour", "models")


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
    columns: Columns = None,
    lists: Lists = None,
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
    from learning.evaluate_stream import StreamPlan, figures_of, run_stream
    from learning.work_folder import models_of
    from nextclick.show.stream_picture import PICTURE, draw

    expect_outputs((out, STREAM), (picture, PICTURE), inputs=[events, items, settings])
    training = training_settings(settings, dim=dim)
    reranking = reranker_settings(settings, half_life_hours)
    known = known_items(items, columns, lists)
    stages = BarStages(console)
    with models_of(artifacts, work, tell=partial(warn, console)) as models:
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
        found, facts = run_stream(plan, stages)
    figures = figures_of(found)
    for table in stream_tables(figures):
        console.print(table)
    if out is not None:
        write_result(out, {"command": sys.argv, **facts, **figures}, STREAM)
    if picture is not None:
        write_output(picture, draw(figures, title=f"{events.name}: next clicks, hour by hour").encode(), PICTURE)
        console.print(f"Picture: {picture}")
