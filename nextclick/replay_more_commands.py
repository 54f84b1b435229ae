"""The commands of `nextclick replay` around playing: record, anonymise, report, diff, scenario."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.errors import SettingsError
from nextclick.import_commands import Anonymise, KeepItems, Key, anonymiser_of

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from nextclick.scenario_run import ScenarioResult
    from replay.diff import Change, Checked
    from replay.diff_live import ListsCompared
    from replay.options import PlayOptions
    from replay.play import Snapshot
    from replay.slo import Condition

console = Console()

Recording = Annotated[Path, typer.Argument(help="An event-log file (.jsonl.zst).")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The event-log file to write (.jsonl.zst).")]
Speed = Annotated[float, typer.Option(min=1e-6, help="How many times as fast as it was recorded.")]
Rate = Annotated[float | None, typer.Option(min=1e-6, help="Instead of --speed: events a second, evenly.")]
Events = Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")]
Recommend = Annotated[float, typer.Option(min=0.0, max=1.0, help="Ask before this share of the clicks.")]


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
    from replay.record import From, RecordOptions, record_log

    if start not in tuple(From):
        raise SettingsError(f"--from: expected {' or '.join(From)}, got {start!r}")
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
    recording: Recording,
    out: Annotated[Path, typer.Argument(help="The event-log file to write (.jsonl.zst).")],
    key: Key = "",
    keep_items: Annotated[bool, typer.Option("--keep-items", help="Leave item ids as they are.")] = False,
) -> None:
    """Replace the ids of a recording by keyed hashes; order, times and repeats stay."""
    from replay.anonymise import anonymise_log

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
    from replay.report import read_result, write_report

    write_report(read_result(result), out)
    console.print(f"Written: {out}")


def diff(
    a: Annotated[str, typer.Argument(help="A result file; with --live the address of a gateway.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    recording: Annotated[Path | None, typer.Argument(help="With --live: what to play into both.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Play into two running gateways at the same time.")] = False,
    speed: Speed = 1.0,
    rate: Rate = None,
    events: Events = None,
    recommend: Recommend = 1.0,
    conditions: Annotated[
        str, typer.Option("--assert", help="Exit 1 unless all hold: p99<+10%, hit_rate>-0.01, overlap@20>=0.8.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the comparison as JSON.")] = None,
) -> None:
    """Compare two results, or two live gateways that are fed the same schedule.

    Exits 1 when a condition does not hold, or when a live run lost events or is invalid.
    """
    from replay.diff import changes, check, parse_conditions
    from replay.report import read_result

    wanted: Sequence[Condition] = parse_conditions(conditions)
    lists: ListsCompared | None = None
    if live:
        if recording is None:
            raise SettingsError("diff --live: expected A, B and a recording to play into both")
        ours, theirs, lists, sound = _play_live(_options(recording, speed, rate, events, recommend), a, b)
    else:
        ours, theirs, sound = read_result(Path(a)), read_result(Path(b)), True
    found = changes(ours, theirs)
    checked = check(wanted, found, lists.metrics() if lists is not None else None)
    console.print(changes_table(found, a, b))
    if lists is not None:
        console.print(*lists_tables(lists))
    for one in checked:
        console.print(f"[{'green]holds' if one.ok else 'bold red]does not hold'}[/] {one}", highlight=False)
    if out is not None:
        _write_diff(out, a, b, found, lists, checked)
    raise typer.Exit(0 if sound and all(one.ok for one in checked) else 1)


def scenario(
    file: Annotated[Path, typer.Argument(help="A scenario file (.toml).")],
    recording: Recording,
    speed: Speed = 1.0,
    rate: Rate = None,
    events: Events = None,
    recommend: Recommend = 0.1,
    watch: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of clicks to watch until visible.")] = 0.05,
    items: Annotated[Path | None, typer.Option(help="Items file to load first; else items come from clicks.")] = None,
    artifacts: Annotated[str, typer.Option(help="Folder of trained artifacts.")] = "",
    broker_pid: Annotated[int | None, typer.Option(help="Process of the Kafka broker, for faults of it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the result as JSON.")] = None,
    page: Annotated[Path | None, typer.Option("--report", help="Write the result as an HTML page.")] = None,
) -> None:
    """Start a stack, play a recording into it, do the scenario's faults, and count what became of every event.

    Exits 1 when an event was lost or a fault could not be done.
    """
    from nextclick.scenario_run import Surroundings, run_scenario
    from replay.report import write_report
    from replay.scenario import read_scenario

    plan = read_scenario(file)
    options = _options(recording, speed, rate, events, recommend, watch=watch)
    with tempfile.TemporaryDirectory(prefix="nextclick-scenario-") as folder, _bar(options) as (bars, show):
        surroundings = Surroundings(Path(folder), items, artifacts, broker_pid)
        result = run_scenario(plan, options, surroundings, told=bars.console.print, progress=show)
    _print_scenario(result)
    if out is not None:
        _write_json(out, result.as_json())
    if page is not None:
        write_report(result.as_json(), page)
        console.print(f"Written: {page}")
    raise typer.Exit(0 if result.held else 1)


def mount(replay_app: typer.Typer) -> None:
    """Put the commands under `nextclick replay`."""
    for command in (record, anonymise, report, diff, scenario):
        replay_app.command(command.__name__)(command)


def changes_table(found: Sequence[Change], a: str, b: str) -> Table:
    """Return the differences of two runs as a table; what is clear stands out."""
    table = Table("metric", "A", "B", "B - A", "95% interval", title=f"A {a}\nB {b}", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in found:
        show = _milliseconds if one.unit == "ms" else _points
        relative = f" ({one.relative:+.1%})" if one.unit == "ms" and one.relative is not None else ""
        table.add_row(
            one.metric,
            show(one.a).lstrip("+"),
            show(one.b).lstrip("+"),
            show(one.difference) + relative,
            f"{show(one.low)} to {show(one.high)}",
            style="bold" if one.clear else "dim",
        )
    return table


def lists_tables(lists: ListsCompared) -> list[Table]:
    """Return how two targets' answers compare: what they share, and why one alone shows an item."""
    table = Table("answers compared", f"{lists.questions:,}", "95% interval", title="The same questions, two answers")
    for k, one in lists.overlap.items():
        table.add_row(f"overlap@{k}", f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}")
    hit = lists.hit_difference
    table.add_row("hit rate, B - A, paired", _points(hit.value), f"{_points(hit.low)} to {_points(hit.high)}")
    table.add_row("same first item", f"{lists.same_first:.3f}", "")
    table.add_row("same list", f"{lists.same_list:.3f}", "")
    table.add_row("mean change of position", f"{lists.rank_change:.2f}", "")
    alone = Table("reason", "only A", "only B", title="Items that one alone shows")
    for reason in {**lists.only_a, **lists.only_b}:
        alone.add_row(reason, f"{lists.only_a.get(reason, 0):,}", f"{lists.only_b.get(reason, 0):,}")
    return [table, alone]


def _milliseconds(value: float) -> str:
    return f"{value:+,.2f} ms"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}%"


def _options(
    recording: Path, speed: float, rate: float | None, events: int | None, recommend: float, *, watch: float = 0.0
) -> PlayOptions:
    from replay.options import PlayOptions, Questions
    from replay.pacer import FixedRate, TimesFaster

    return PlayOptions(
        recording,
        pace=FixedRate(rate) if rate is not None else TimesFaster(speed),
        events=events,
        questions=Questions(share=recommend, baselines=False) if recommend > 0 else None,
        watch=watch,
    )


@contextmanager
def _bar(options: PlayOptions) -> Iterator[tuple[Progress, Callable[[Snapshot], None]]]:
    """Show a bar of events; gives the bars, and what to tell how a run stands."""
    from eventlog.files import read_header

    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    whole = min(read_header(options.recording).events, options.events or 10**12)
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("playing", total=whole)
        yield bars, lambda now: bars.update(task, completed=now.settled)


def _play_live(options: PlayOptions, a: str, b: str) -> tuple[dict[str, Any], dict[str, Any], ListsCompared, bool]:
    import uvloop

    from replay.diff_live import play_both

    with _bar(options) as (_, show):
        ours, theirs, lists = uvloop.run(play_both(options, a, b, progress=show))
    for name, one in (("A", ours), ("B", theirs)):
        for reason in one.invalid:
            console.print(f"[bold red]invalid run[/] of {name}: {reason}")
        if one.lost:
            console.print(f"[bold red]{one.lost:,} events were lost[/] by {name}: {one.failed}")
    return ours.as_json(), theirs.as_json(), lists, not any(one.lost or one.invalid for one in (ours, theirs))


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


def _write_diff(
    path: Path, a: str, b: str, found: Sequence[Change], lists: ListsCompared | None, checked: Sequence[Checked]
) -> None:
    from dataclasses import asdict

    document = {
        "a": a,
        "b": b,
        "changes": [one.as_json() for one in found],
        "lists": None if lists is None else {**asdict(lists), "overlap": {
            str(k): asdict(one) for k, one in lists.overlap.items()}},
        "checks": [{"name": one.condition.text, "value": one.value, "held": one.ok} for one in checked],
    }  # fmt: skip
    _write_json(path, document)


def _write_json(path: Path, document: Any) -> None:
    import orjson

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    console.print(f"Written: {path}")
