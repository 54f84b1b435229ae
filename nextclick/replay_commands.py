"""The commands `nextclick import ...` and `nextclick replay ...`, and their live progress."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from contracts.errors import SettingsError
from replay.choices import Into, SeenItems, Times

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.freshness import Freshness, FreshnessOptions
    from replay.play import Snapshot
    from replay.result import PlayResult
    from replay.run import PlayOptions, Questions

console = Console()
import_app = typer.Typer(no_args_is_help=True)
replay_app = typer.Typer(no_args_is_help=True, help="Play recorded traffic and measure what it does.")

Out = Annotated[Path, typer.Option("--out", "-o", help="The event-log file to write (.jsonl.zst).")]
Recording = Annotated[Path, typer.Argument(help="An event-log file (.jsonl.zst).")]
Url = Annotated[str, typer.Option(help="A running gateway.")]


@import_app.callback()
def importing() -> None:
    """Turn published recordings into event-log files (.jsonl.zst)."""


@import_app.command("globo")
def import_globo(
    source: Annotated[Path, typer.Argument(help="The publisher's clicks.zip, or its extracted folder.")],
    out: Out,
    days: Annotated[str, typer.Option(help="Days by click time, from 0, half open: 0:1 is the first.")] = "",
    from_hour: Annotated[int, typer.Option(help="First hour to take, from 0.")] = 0,
    to_hour: Annotated[int | None, typer.Option(help="Hour to stop before.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first broken line.")] = False,
) -> None:
    """Import the Globo.com news clicks."""
    from replay.importers import Hours

    if days and (from_hour or to_hour is not None):
        raise SettingsError("expected --days, or --from-hour and --to-hour, got both: choose one")
    _import("globo", source, out, Hours.of_days(days) if days else Hours(from_hour, to_hour), strict)


@replay_app.command("show")
def show(recording: Recording) -> None:
    """Show what an event-log file holds."""
    from eventlog.files import read_header

    header = read_header(recording)
    table = Table(title=str(recording), show_header=False, box=box.SIMPLE)
    for name in header.__dataclass_fields__:
        value = getattr(header, name)
        table.add_row(name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
    console.print(table)


@replay_app.command("play")
def play(
    recording: Recording,
    url: Url = "http://127.0.0.1:8080",
    into: Annotated[Into, typer.Option(help="The gateway, or the log that the settings name.")] = Into.GATEWAY,
    speed: Annotated[float, typer.Option(min=1e-6, help="How many times as fast as it was recorded.")] = 1.0,
    rate: Annotated[float | None, typer.Option(min=1e-6, help="Instead of --speed: events a second, evenly.")] = None,
    times: Annotated[
        Times, typer.Option("--time", help="live: events happen as they are played; or as recorded.")
    ] = Times.LIVE,
    run: Annotated[str, typer.Option(help="Name in front of event and session ids; new for every run.")] = "",
    keep_sessions: Annotated[bool, typer.Option("--keep-sessions", help="Leave session ids as recorded.")] = False,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    connections: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="Events that may share a request when due together.")] = 100,
    give_up: Annotated[float, typer.Option(help="Seconds after which an event that is refused counts as failed.")] = 30,
    recommend: Annotated[
        str, typer.Option(help="Ask before this share of the clicks (0 to 1, or all): the live hit rate.")
    ] = "",
    prime: Annotated[Path | None, typer.Option(help="The log that the model was trained on, for baselines.")] = None,
    seen_items: Annotated[
        SeenItems, typer.Option(help="Whether the gateway recommends what the session has clicked.")
    ] = SeenItems.HIDDEN,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the result as JSON.")] = None,
    timings: Annotated[Path | None, typer.Option(help="Write every request's times (.npz).")] = None,
) -> None:
    """Play a recording in an open loop, in order within a session.

    Exits 1 when an event was lost or the run is invalid.
    """
    from replay.pacer import FixedRate, TimesFaster
    from replay.play import Limits
    from replay.run import PlayOptions

    options = PlayOptions(
        recording=recording,
        url=url,
        into=into,
        pace=FixedRate(rate) if rate is not None else TimesFaster(speed),
        time=times,
        run=run,
        rename_sessions=not keep_sessions,
        events=events,
        limits=Limits(connections=connections, batch=batch),
        give_up_s=give_up,
        questions=_questions(recommend, prime, seen_items),
        timings=timings,
    )
    result = play_and_show(options)
    if out is not None:
        result.write(out)
        console.print(f"Written: {out}")
    raise typer.Exit(1 if result.lost or result.invalid else 0)


@replay_app.command("freshness")
def freshness(
    url: Url = "http://127.0.0.1:8080",
    rate: Annotated[float, typer.Option(min=1.0, help="Clicks a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to click.")] = 20.0,
    share: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of clicks to watch with their token, and as many without.")
    ] = 0.1,
    items: Annotated[
        Path | None, typer.Option(help="Items file to click on; else the gateway's own catalogue.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as benchmark JSON.")] = None,
) -> None:
    """Measure click to visible: from the POST of a click to a recommendation that counts it.

    Exits 1 when a click was lost or never seen, or the run is invalid.
    """
    import shlex
    import sys

    import uvloop

    from evaluation.report import write_bench_file
    from nextclick.replay_tables import freshness_table
    from replay.freshness import FreshnessOptions

    options = FreshnessOptions(url=url, rate=rate, seconds=seconds, share=share)
    result = uvloop.run(_freshness(options, items))
    console.print(freshness_table(result))
    _complain(result.invalid)
    if out is not None:
        write_bench_file(out, "freshness", result.rows(), shlex.join(["nextclick", *sys.argv[1:]]))
        console.print(f"Written: {out}")
    raise typer.Exit(1 if result.failed or result.never or result.invalid else 0)


async def _freshness(options: FreshnessOptions, items: Path | None) -> Freshness:
    from eventlog.files import read_items
    from replay.freshness import listed_items

    ids = [item_id for item_id, _ in read_items(items)] if items else await listed_items(options.url)
    if not ids:
        raise SettingsError("the gateway's catalogue is empty: load items first, or name a file with --items")
    return await freshness_watched(options, ids)


async def freshness_watched(options: FreshnessOptions, ids: Sequence[str]) -> Freshness:
    """Measure click to visible on these items, with a progress display."""
    from contracts.clock import wall_clock_ms
    from replay.freshness import measure_freshness
    from replay.run import new_run_name

    start_ms = wall_clock_ms()
    with _watching(round(options.rate * options.seconds)) as (watch, _):
        return await measure_freshness(options, ids, run=new_run_name(start_ms), start_ms=start_ms, progress=watch)


def _complain(invalid: tuple[str, ...]) -> None:
    for reason in invalid:
        console.print(f"[bold red]invalid run[/]: {reason}")


def _questions(recommend: str, prime: Path | None, seen_items: SeenItems) -> Questions | None:
    from replay.run import Questions

    if not recommend:
        return None
    try:
        share = 1.0 if recommend == "all" else float(recommend)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise SettingsError(f"--recommend: expected all, or a share above 0 and up to 1, got {recommend!r}")
    return Questions(share=share, prime=prime, seen_items=seen_items)


def _import(name: str, source: Path, out: Path, hours: object, strict: bool) -> None:
    from replay.importers import IMPORTERS, Hours, import_log

    assert isinstance(hours, Hours)
    with _bars() as bars:
        names = {"read": "reading files", "write": "writing events"}
        tasks = {phase: bars.add_task(name, total=None, start=False) for phase, name in names.items()}

        def show_progress(phase: str, done: int, whole: int) -> None:
            if not bars.tasks[tasks[phase]].started:
                bars.start_task(tasks[phase])
            bars.update(tasks[phase], completed=done, total=whole)

        imported = import_log(IMPORTERS[name], source, out, hours=hours, strict=strict, progress=show_progress)
    header = imported.header
    console.print(
        f"{out}: {header.events:,} events, {header.sessions:,} sessions, {header.items:,} items; "
        f"{imported.broken:,} broken lines skipped"
    )
    for problem in imported.problems:
        console.print(f"  {problem}", style="yellow", highlight=False)


def play_and_show(options: PlayOptions) -> PlayResult:
    """Play with a live progress display, print what came of it, and return that."""
    import uvloop

    from contracts.settings import ServiceSettings
    from eventlog.files import read_header
    from nextclick.replay_tables import play_tables
    from replay.run import play_recording

    total = min(read_header(options.recording).events, options.events or 10**12)

    async def played() -> PlayResult:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        with _watching(total) as (watch, watch_scoring):
            return await play_recording(
                options, ServiceSettings(), progress=watch, score_progress=watch_scoring, stop=stop
            )

    result = uvloop.run(played())
    console.print(*play_tables(result))
    _complain(result.invalid)
    return result


Watch = tuple[Callable[["Snapshot"], None], Callable[[int, int], None]]


@contextmanager
def _watching(total: int) -> Iterator[Watch]:
    """Show a run as it goes: a bar of events, and a line of what else there is to know."""
    from nextclick.replay_tables import standing_line

    bars = _bars()
    playing = bars.add_task("playing", total=total)
    scoring = bars.add_task("scoring the baselines", total=None, visible=False, start=False)
    last = (0.0, 0)
    with Live(bars, console=console, refresh_per_second=4) as live:

        def watch(now: Snapshot) -> None:
            nonlocal last
            since_s = now.elapsed_s - last[0]
            rate = (now.settled - last[1]) / since_s if since_s > 0 else 0.0
            last = (now.elapsed_s, now.settled)
            bars.update(playing, completed=now.settled)
            live.update(Group(bars, standing_line(now, rate)))

        def watch_scoring(done: int, whole: int) -> None:
            if not bars.tasks[scoring].started:
                bars.start_task(scoring)
            bars.update(scoring, completed=done, total=whole, visible=True)

        yield watch, watch_scoring


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)
