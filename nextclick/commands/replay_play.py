"""`nextclick replay play`: a recording into a running stack, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from contracts.outputs import expect_outputs
from nextclick.commands import replay_options
from nextclick.commands.option_groups import spread
from nextclick.commands.replay_parse import pace_of, questions_of
from nextclick.show.replay import console, expect_playable, play_and_show
from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.settings import gateway_url
from replay.engine.choices import Into

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.measure.objectives import Slo
    from replay.measure.result import PlayResult


@spread
def play(
    recording: replay_options.Recording,
    pace: replay_options.VaryingPaceOptions,
    clones: replay_options.CloneOptions,
    naming: replay_options.NamingOptions,
    transport: replay_options.TransportOptions,
    questions: replay_options.QuestionAndBaselineOptions,
    output: replay_options.OutputOptions,
    url: replay_options.Url = None,
    into: replay_options.IntoWhat = Into.GATEWAY,
    target: replay_options.Target = None,
    key_file: KeyFile = None,
    events: replay_options.Events = None,
    watch: replay_options.Watch = 0.0,
    must: replay_options.Must = "",
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
        (output.out, RESULT),
        (output.answers, ANSWERS),
        (output.timings, TIMINGS),
        inputs=[recording, target, pace.curve, questions.prime],
    )
    slo = Slo.parse(must) if must else None
    options = PlayOptions(
        recording,
        gateway_url(url),
        into,
        pace_of(pace),
        naming.times,
        naming.run,
        rename_sessions=not naming.keep_sessions,
        events=events,
        limits=Limits(connections=transport.connections, batch=transport.batch),
        give_up_s=transport.give_up,
        questions=questions_of(questions),
        timings=output.timings,
        clones=Clones(clones.clone, clones.clone_spread, clones.seed),
        workers=transport.workers,
        watch=watch,
        template=target,
        answers=output.answers,
        key=api_key(key_file),
    )
    expect_playable(options)
    raise typer.Exit(_judged(play_and_show(options), slo, output.out))


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
