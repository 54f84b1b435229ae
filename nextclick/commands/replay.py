"""The commands `nextclick replay ...`, and where those of their neighbours are mounted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands import imports as import_commands
from nextclick.commands import replay_more as replay_more_commands
from nextclick.commands import replay_options as words
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_parse import pace_of, questions_of
from nextclick.commands.replay_search import export, limit
from nextclick.show.replay import complain, console, expect_playable, freshness_watched, play_and_show
from replay.engine.choices import Into

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.measure.freshness import Freshness, FreshnessOptions
    from replay.measure.objectives import Slo
    from replay.measure.result import PlayResult

__all__ = ["freshness_watched", "import_app", "play_and_show", "replay_app"]

import_app = typer.Typer(no_args_is_help=True)
replay_app = typer.Typer(no_args_is_help=True, help="Play recorded traffic and measure what it does.")


@import_app.callback()
def importing() -> None:
    """Turn published recordings into event-log files (.jsonl.zst)."""


@replay_app.command("show")
def show(recording: words.Recording) -> None:
    """Show what an event-log file holds."""
    from eventlog.files import read_header
    from nextclick.show.replay_tables import header_table

    console.print(header_table(recording, read_header(recording)))


@replay_app.command("play")
@spread
def play(
    recording: words.Recording,
    paced: words.Paced,
    cloned: words.Cloned,
    called: words.Told,
    sent: words.Sent,
    asked: words.AskedBeside,
    written: words.Written,
    url: words.Url,
    into: words.IntoWhat = Into.GATEWAY,
    target: words.Target = None,
    events: words.Events = None,
    watch: words.Watch = 0.0,
    must: words.Must = "",
) -> None:
    """Play a recording in an open loop, in order within a session.

    Exits 1 when an event was lost, the run is invalid, or an --assert does not hold.
    """
    from replay.engine.clone import Clones
    from replay.engine.options import PlayOptions
    from replay.engine.play import Limits
    from replay.engine.run import TIMINGS
    from replay.measure.answer_log import ANSWERS
    from replay.measure.objectives import Slo
    from replay.measure.result import RESULT

    expect_outputs(
        (written.out, RESULT),
        (written.answers, ANSWERS),
        (written.timings, TIMINGS),
        inputs=[recording, target, paced.curve, asked.prime],
    )
    slo = Slo.parse(must) if must else None
    options = PlayOptions(
        recording,
        url,
        into,
        pace_of(paced),
        called.times,
        called.run,
        rename_sessions=not called.keep_sessions,
        events=events,
        limits=Limits(connections=sent.connections, batch=sent.batch),
        give_up_s=sent.give_up,
        questions=questions_of(asked),
        timings=written.timings,
        clones=Clones(cloned.clone, cloned.clone_spread, cloned.seed),
        workers=sent.workers,
        watch=watch,
        template=target,
        answers=written.answers,
    )
    expect_playable(options)
    raise typer.Exit(_judged(play_and_show(options), slo, written.out))


def _judged(result: PlayResult, slo: Slo | None, out: Path | None) -> int:
    """Write the result, say what of the objective does not hold, and return the exit code."""
    from replay.measure.objectives import failures

    if out is not None:
        result.write(out)
        console.print(f"Written: {out}", soft_wrap=True)
    broken = failures(slo.check(result)) if slo is not None else []
    for one in broken:
        console.print(f"[bold red]does not hold[/]: {one}")
    lost = result.lost if slo is None or "errors" not in {one.metric for one in slo.conditions} else 0
    return 1 if lost or result.invalid or broken else 0


@replay_app.command("freshness")
def freshness(
    url: words.Url,
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

    from evaluation.report import BENCH, write_bench_file
    from nextclick.show.replay_tables import freshness_table
    from replay.measure.freshness import FreshnessOptions

    expect_outputs((out, BENCH), inputs=[items])
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
    from replay.measure.freshness import listed_items

    ids = [item_id for item_id, _ in read_items(items)] if items else await listed_items(options.url)
    if not ids:
        raise SettingsError("the gateway's catalogue is empty: load items first, or name a file with --items")
    return await freshness_watched(options, ids)


import_commands.mount(import_app)
replay_app.command("limit")(limit)
replay_app.command("export")(export)
replay_more_commands.mount(replay_app)
