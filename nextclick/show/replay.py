"""A replay in the terminal: its live progress, and what came of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from contracts.outputs import FileKind, write_output
from replay.engine.choices import Into

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.options import PlayOptions
    from replay.engine.play import Snapshot
    from replay.measure.freshness import Freshness, FreshnessOptions
    from replay.measure.result import PlayResult

console = Console()


def play_and_show(options: PlayOptions) -> PlayResult:
    """Play with a live progress display, print what came of it, and return that."""
    import uvloop

    from contracts.settings import ServiceSettings
    from eventlog.files import read_header
    from nextclick.show.replay_tables import play_tables
    from replay.engine.run import play_recording

    total = min(read_header(options.recording).events * options.clones.copies, options.events or 10**12)

    async def played() -> PlayResult:
        stop = stop_on_interrupt()
        with watching(total) as (watch, watch_scoring):
            return await play_recording(
                options, ServiceSettings(), progress=watch, score_progress=watch_scoring, stop=stop
            )

    result = uvloop.run(played())
    console.print(*play_tables(result))
    complain(result.invalid)
    return result


def expect_playable(options: PlayOptions) -> None:
    """Look at the recording, the template, and for the gateway: raise before a long run finds none."""
    from eventlog.files import read_header
    from nextclick.stack.client import expect_listening
    from replay.engine.template import read_template

    read_header(options.recording)
    if options.template is not None:
        read_template(options.template).expect(questions=options.questions is not None)
    if options.template is None and (options.into is Into.GATEWAY or options.questions is not None):
        expect_listening(options.url)


def stop_on_interrupt() -> asyncio.Event:
    """Return an event that Ctrl-C sets, so that a run ends in order and still reports."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    return stop


async def freshness_watched(options: FreshnessOptions, ids: Sequence[str]) -> Freshness:
    """Measure click to visible on these items, with a progress display."""
    from contracts.clock import wall_clock_ms
    from replay.engine.run import new_run_name
    from replay.measure.freshness import measure_freshness

    start_ms = wall_clock_ms()
    with watching(round(options.rate * options.seconds)) as (watch, _):
        return await measure_freshness(options, ids, run=new_run_name(start_ms), start_ms=start_ms, progress=watch)


def complain(invalid: tuple[str, ...]) -> None:
    """Say why a run's figures are not the target's."""
    for reason in invalid:
        console.print(f"[bold red]invalid run[/]: {reason}")


Watch = tuple[Callable[["Snapshot"], None], Callable[[int, int], None]]


@contextmanager
def watching(total: int) -> Iterator[Watch]:
    """Show a run as it goes: a bar of events, and a line of what else there is to know."""
    from nextclick.show.replay_tables import standing_line

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=console)
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
    if not console.is_terminal:
        console.print()  # the last line of a display that nobody watched has no end


@contextmanager
def bar(options: PlayOptions) -> Iterator[tuple[Progress, Callable[[Snapshot], None]]]:
    """Show a bar of events; gives the bars, and what to tell how a run stands."""
    from eventlog.files import read_header

    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    whole = min(read_header(options.recording).events, options.events or 10**12)
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("playing", total=whole)
        yield bars, lambda now: bars.update(task, completed=now.settled)


def write_json(path: Path, document: Any, kind: FileKind) -> None:
    """Write a document for people and programs, and say so."""
    import orjson

    write_output(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), kind)
    console.print(f"Written: {path}", soft_wrap=True)
