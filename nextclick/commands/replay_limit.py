"""`nextclick replay limit`: the highest rate at which an objective holds."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands import replay_options
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_parse import questions_of
from nextclick.show.replay import console, expect_playable, stop_on_interrupt, write_json
from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.settings import gateway_url

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.engine.options import PlayOptions
    from replay.measure.limit import Limit, Search, Step
    from replay.measure.objectives import Slo
    from replay.measure.result import PlayResult

DRAIN_S = 5.0
WAITING_S = 2.0
"""A step fails once it is this many seconds of events behind: there is no need to see it crawl."""


@spread
def limit(
    recording: replay_options.Recording,
    slo: Annotated[str, typer.Option(help="What must hold: p99<50ms,errors<0.1%,fresh_p99<200ms.")],
    asked: replay_options.QuestionOptions,
    url: replay_options.Url = None,
    target: replay_options.Target = None,
    key_file: KeyFile = None,
    start: Annotated[float, typer.Option(min=1e-3, help="First rate to try, events a second.")] = 50.0,
    ceiling: Annotated[float, typer.Option(min=1e-3, help="Highest rate to try.")] = 100_000.0,
    precision: Annotated[float, typer.Option(min=0.005, help="Stop when two rates are this share apart.")] = 0.1,
    step: Annotated[float, typer.Option(min=0.5, help="Seconds a rate is tried.")] = 5.0,
    confirm: Annotated[float, typer.Option(min=0.5, help="Seconds of the confirmation.")] = 15.0,
    workers: replay_options.Workers = 1,
    connections: replay_options.Connections = 64,
    watch: replay_options.Watch = 0.05,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write every step's result as JSON.")] = None,
) -> None:
    """Find the highest rate at which the objective holds: doubling, then bisecting, then a run that confirms it.

    Exits 1 when no rate was confirmed.
    """
    import uvloop

    from nextclick.show.replay_tables import limit_table
    from replay.engine.options import PlayOptions
    from replay.engine.play import Limits
    from replay.measure.limit import LIMIT, Search
    from replay.measure.objectives import Slo

    expect_outputs((out, LIMIT), inputs=[recording, target])
    wanted = Slo.parse(slo)
    questions = questions_of(asked)
    if wanted.needs_answers and questions is None:
        raise SettingsError(f"--slo {slo}: it needs answers: add --recommend all, or a share")
    options = PlayOptions(
        recording=recording,
        url=gateway_url(url),
        template=target,
        limits=Limits(connections=connections, batch=1),
        questions=questions,
        workers=workers,
        watch=watch if wanted.needs_freshness else 0.0,
        give_up_s=DRAIN_S,
        attempt_s=DRAIN_S,
        key=api_key(key_file),
    )
    expect_playable(options)
    found = uvloop.run(_search(options, wanted, Search(start, ceiling, precision, step, confirm)))
    console.print(limit_table(found, wanted))
    if out is not None:
        write_json(out, found.as_json(), LIMIT)
    raise typer.Exit(0 if found.rate is not None else 1)


async def _search(options: PlayOptions, slo: Slo, search: Search) -> Limit:
    from dataclasses import replace

    from contracts.settings import ServiceSettings
    from eventlog.files import read_header
    from replay.engine.clone import Clones
    from replay.engine.pacer import FixedRate
    from replay.engine.run import play_recording
    from replay.measure.limit import find_limit

    events, stop = read_header(options.recording).events, stop_on_interrupt()

    async def play_at(rate: float, seconds: float) -> PlayResult:
        """Play the recording's beginning, with as many clones as it takes to fill the time."""
        wanted = ceil(rate * seconds)
        at_rate = replace(
            options,
            pace=FixedRate(rate),
            events=wanted,
            clones=Clones(max(1, ceil(wanted / max(1, events)))),
            limits=replace(options.limits, drain_s=DRAIN_S, waiting=max(1000, ceil(rate * WAITING_S))),
        )
        with console.status(f"{rate:,.0f} events a second for {seconds:g} s"):
            return await play_recording(at_rate, ServiceSettings(), stop=stop)

    def tell(step: Step) -> None:
        holds = "[green]holds[/]" if step.ok else "[red]does not hold[/]"
        console.print(f"{step.phase} {step.rate:,.0f}/s: {holds}  {'; '.join(map(str, step.checked))}")

    return await find_limit(play_at, slo, search, on_step=tell)
