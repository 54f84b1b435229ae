"""The commands of `nextclick replay` around playing: record, anonymise, report, scenario."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands import replay_options as words
from nextclick.commands.imports import Anonymise, KeepItems, Key, anonymiser_of
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_diff import diff
from nextclick.commands.replay_parse import plain_options
from nextclick.show.replay import bar, console, write_json
from nextclick.stack.options import setting_option

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from nextclick.stack.scenario_run import ScenarioResult

Out = Annotated[Path, typer.Option("--out", "-o", help="The event-log file to write (.jsonl.zst).")]


def record(
    out: Out,
    start: Annotated[
        str, typer.Option("--from", help="log: from the oldest record kept; now: what arrives, for --seconds.")
    ] = "log",
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long; left out: what the log holds.")] = None,
    sample: Annotated[float, typer.Option(help="Share of the sessions; sessions stay whole.")] = 1.0,
    anonymise: Anonymise = False,
    key: Key = "",
    keep_items: KeepItems = False,
) -> None:
    """Record the event log that the settings name (Redis or Kafka) into a file."""
    from contracts.settings import ServiceSettings
    from eventlog.files import EVENTS
    from replay.engine.record import From, RecordOptions, record_log

    if start not in tuple(From):
        raise SettingsError(f"--from: expected {' or '.join(From)}, got {start!r}")
    expect_outputs((out, EVENTS))
    options = RecordOptions(out, start=From(start), seconds=seconds, share=sample)
    with console.status("recording") as status:
        recorded = record_log(
            options,
            ServiceSettings(),
            anonymiser=anonymiser_of(anonymise, key, keep_items),
            progress=lambda taken: status.update(f"recording: {taken:,} events"),
        )
    assert recorded.header is not None
    header = recorded.header
    console.print(f"{out}: {header.events:,} events, {header.sessions:,} sessions, {header.items:,} items")
    for reason, count in recorded.broken.items():
        console.print(f"  {count:,} records left out: {reason}", style="yellow")
    if recorded.trimmed:
        console.print(f"  {recorded.trimmed:,} records were trimmed before they were read", style="yellow")


def anonymise(
    recording: words.Recording,
    out: Annotated[Path, typer.Argument(help="The event-log file to write (.jsonl.zst).")],
    key: Key = "",
    keep_items: Annotated[bool, typer.Option("--keep-items", help="Leave item ids as they are.")] = False,
) -> None:
    """Replace the ids of a recording by keyed hashes; order, times and repeats stay."""
    from eventlog.files import EVENTS
    from replay.engine.anonymise import anonymise_log

    expect_outputs((out, EVENTS), inputs=[recording])
    anonymiser = anonymiser_of(True, key, keep_items)
    assert anonymiser is not None
    with console.status("anonymising") as status:
        header = anonymise_log(
            recording, out, anonymiser, progress=lambda done: status.update(f"anonymising: {done:,} events")
        )
    console.print(f"{out}: {header.events:,} events, anonymised")


def report(
    result: Annotated[Path, typer.Argument(help="A result that `replay play --out` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write (.html).")],
) -> None:
    """Turn a result into one self-contained HTML page."""
    from replay.report.page import REPORT, read_result, write_report

    expect_outputs((out, REPORT), inputs=[result])
    write_report(read_result(result), out)
    console.print(f"Written: {out}")


@spread
def scenario(
    file: Annotated[Path, typer.Argument(help="A scenario file (.toml).")],
    recording: words.Recording,
    tempo: words.Tempo,
    events: words.Events = None,
    recommend: words.RecommendShare = 0.1,
    watch: words.Watch = 0.05,
    items: Annotated[Path | None, typer.Option(help="Items file to load first; else items come from clicks.")] = None,
    artifacts: Annotated[Path | None, setting_option("artifacts", help="Folder of trained artifacts.")] = None,
    broker_pid: Annotated[int | None, typer.Option(help="Process of the Kafka broker, for faults of it.")] = None,
    out: words.ResultOut = None,
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
        result = run_scenario(plan, options, surroundings, told=bars.console.print, progress=show)
    _print_scenario(result)
    if out is not None:
        write_json(out, result.as_json(), RESULT)
    if page is not None:
        write_report(result.as_json(), page)
        console.print(f"Written: {page}")
    raise typer.Exit(0 if result.held else 1)


def mount(replay_app: typer.Typer) -> None:
    """Put the commands under `nextclick replay`."""
    for command in (record, anonymise, report, diff, scenario):
        replay_app.command(command.__name__)(command)


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
