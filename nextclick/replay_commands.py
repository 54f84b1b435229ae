"""The commands `nextclick replay ...`, and where those of their neighbours are mounted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from contracts.errors import SettingsError
from nextclick import import_commands, replay_more_commands
from nextclick.replay_parse import pace_of, questions_of
from nextclick.replay_search import export, limit
from nextclick.replay_show import complain, console, freshness_watched, play_and_show
from replay.choices import Into, SeenItems, Times

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.freshness import Freshness, FreshnessOptions

__all__ = ["freshness_watched", "import_app", "play_and_show", "replay_app"]

import_app = typer.Typer(no_args_is_help=True)
replay_app = typer.Typer(no_args_is_help=True, help="Play recorded traffic and measure what it does.")

Recording = Annotated[Path, typer.Argument(help="An event-log file (.jsonl.zst).")]
Url = Annotated[str, typer.Option(help="A running gateway, or the target that --target describes.")]


@import_app.callback()
def importing() -> None:
    """Turn published recordings into event-log files (.jsonl.zst)."""


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
    target: Annotated[Path | None, typer.Option(help="A template (.toml, .json) of another recommender.")] = None,
    speed: Annotated[float, typer.Option(min=1e-6, help="How many times as fast as it was recorded.")] = 1.0,
    rate: Annotated[float | None, typer.Option(min=1e-6, help="Instead of --speed: events a second, evenly.")] = None,
    ramp: Annotated[str, typer.Option(help="Instead: from one rate to another, such as 100..5000@60s.")] = "",
    peak: Annotated[
        list[str] | None, typer.Option(help="Times as much from a moment on for a while: 10x@00:30+00:10.")
    ] = None,
    curve: Annotated[Path | None, typer.Option(help="A file of time,multiplier lines, instead of --peak.")] = None,
    clone: Annotated[int, typer.Option(min=1, help="So many visitors for each recorded one.")] = 1,
    clone_spread: Annotated[float, typer.Option(min=0, help="Recorded seconds in which a clone starts later.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Another one starts the clones at other moments.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that play, each its share of the sessions.")] = 1,
    times: Annotated[
        Times, typer.Option("--time", help="live: events happen as they are played; or as recorded.")
    ] = Times.LIVE,
    run: Annotated[str, typer.Option(help="Name in front of event and session ids; new for every run.")] = "",
    keep_sessions: Annotated[bool, typer.Option("--keep-sessions", help="Leave session ids as recorded.")] = False,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    connections: Annotated[int, typer.Option(min=1, help="Requests under way at once, in each worker.")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="Events that may share a request when due together.")] = 100,
    give_up: Annotated[float, typer.Option(help="Seconds after which an event that is refused counts as failed.")] = 30,
    recommend: Annotated[
        str, typer.Option(help="Ask before this share of the clicks (0 to 1, or all): the live hit rate.")
    ] = "",
    placement: Annotated[
        str,
        typer.Option(help="Where: homepage, by-event, or view=product,cart=cart by the event that opened the page."),
    ] = "homepage",
    watch: Annotated[float, typer.Option(min=0, max=1, help="Share of requests to time from click to visible.")] = 0.0,
    prime: Annotated[Path | None, typer.Option(help="The log that the model was trained on, for baselines.")] = None,
    seen_items: Annotated[
        SeenItems, typer.Option(help="Whether the gateway recommends what the session has clicked.")
    ] = SeenItems.HIDDEN,
    must: Annotated[str, typer.Option("--assert", help="Exit 1 unless it holds: p99<50ms,errors<0.1%.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the result as JSON.")] = None,
    timings: Annotated[Path | None, typer.Option(help="Write every request's times (.npz).")] = None,
) -> None:
    """Play a recording in an open loop, in order within a session.

    Exits 1 when an event was lost, the run is invalid, or an --assert does not hold.
    """
    from eventlog.files import read_header
    from nextclick.client import expect_listening
    from replay.clone import Clones
    from replay.options import PlayOptions
    from replay.play import Limits
    from replay.slo import Slo, failures

    slo = Slo.parse(must) if must else None
    options = PlayOptions(
        recording=recording,
        url=url,
        into=into,
        template=target,
        pace=pace_of(speed, rate, ramp, peak or [], curve),
        time=times,
        run=run,
        rename_sessions=not keep_sessions,
        events=events,
        limits=Limits(connections=connections, batch=batch),
        give_up_s=give_up,
        questions=questions_of(recommend, placement, prime, seen_items),
        timings=timings,
        clones=Clones(clone, clone_spread, seed),
        workers=workers,
        watch=watch,
    )
    read_header(recording)
    if target is None and (into is Into.GATEWAY or options.questions is not None):
        expect_listening(url)
    result = play_and_show(options)
    if out is not None:
        result.write(out)
        console.print(f"Written: {out}")
    broken = failures(slo.check(result)) if slo is not None else []
    for one in broken:
        console.print(f"[bold red]does not hold[/]: {one}")
    lost = result.lost if slo is None or "errors" not in {one.metric for one in slo.conditions} else 0
    raise typer.Exit(1 if lost or result.invalid or broken else 0)


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
    complain(result.invalid)
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


import_commands.mount(import_app)
replay_app.command("limit")(limit)
replay_app.command("export")(export)
replay_more_commands.mount(replay_app)
