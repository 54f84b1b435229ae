"""`nextclick replay scenario`: a stack, a recording played into it, and faults on time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.outputs import expect_outputs
from nextclick.commands import replay_options
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_parse import plain_options
from nextclick.show.replay import bar, console, write_json
from nextclick.stack.options import setting_option

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from nextclick.stack.scenario_run import ScenarioResult


@spread
def scenario(
    file: Annotated[Path, typer.Argument(help="A scenario file (.toml).")],
    recording: replay_options.Recording,
    tempo: replay_options.PaceOptions,
    events: replay_options.Events = None,
    recommend: replay_options.RecommendShare = 0.1,
    watch: replay_options.Watch = 0.05,
    items: Annotated[Path | None, typer.Option(help="Items file to load first; else items come from clicks.")] = None,
    artifacts: Annotated[Path | None, setting_option("artifacts", help="Folder of trained artifacts.")] = None,
    broker_pid: Annotated[int | None, typer.Option(help="Process of the Kafka broker, for faults of it.")] = None,
    out: replay_options.ResultOut = None,
    page: Annotated[Path | None, typer.Option("--report", help="Write the result as an HTML page.")] = None,
) -> None:
    """Start a stack, play a recording into it, do the scenario's faults, and count what became of every event.

    Exits 1 when an event was lost or a fault could not be done.
    """
    from nextclick.stack.scenario_run import Surroundings, run_scenario
    from replay.engine.scenario import read_scenario
    from replay.measure.result import RESULT
    from replay.report.page import REPORT, write_report

    expect_outputs((out, RESULT), (page, REPORT), inputs=[file, recording, items])
    plan = read_scenario(file)
    options = plain_options(recording, tempo, events, recommend, watch=watch)
    with tempfile.TemporaryDirectory(prefix="nextclick-scenario-") as folder, bar(options) as (bars, show):
        surroundings = Surroundings(Path(folder), items, artifacts, broker_pid)
        result = run_scenario(plan, options, surroundings, tell=bars.console.print, progress=show)
    _print_scenario(result)
    if out is not None:
        write_json(out, result.as_json(), RESULT)
    if page is not None:
        write_report(result.as_json(), page)
        console.print(f"Written: {page}")
    raise typer.Exit(0 if result.held else 1)


def _print_scenario(result: ScenarioResult) -> None:
    for mark in result.marks:
        until = f" to {mark['until_s']:.1f} s" if "until_s" in mark else ""
        console.print(f"  {mark['at_s']:.1f} s{until}: {mark['name']}")
    for one in result.checks:
        console.print(f"[{'green]holds' if one.held else 'bold red]does not hold'}[/] {one.name}: {one.detail}")
    latency = result.played.latency
    console.print(
        f"{result.played.accepted:,} events accepted, {result.played.lost:,} lost; "
        f"p50 {latency.p50:,.1f} ms, p99 {latency.p99:,.1f} ms, max {latency.max:,.1f} ms from when they were due"
    )
    for reason in result.played.invalid:
        console.print(f"[yellow]latencies are not the stack's alone[/]: {reason}")
