"""`nextclick replay export`: a schedule for another load tool."""

from __future__ import annotations

from contracts.outputs import expect_outputs
from nextclick.commands import replay_options
from nextclick.commands.replay_parse import pace_of
from nextclick.show.replay import console
from nextclick.stack.settings import gateway_url
from replay.engine.choices import ExportTo


def export(
    recording: replay_options.Recording,
    out: replay_options.ExportOut,
    to: replay_options.ToTool = ExportTo.VEGETA,
    url: replay_options.Url = None,
    target: replay_options.Target = None,
    rate: replay_options.EvenRate = 100.0,
    events: replay_options.Events = None,
    clone: replay_options.Copies = 1,
    run: replay_options.Run = "",
) -> None:
    """Write a schedule as targets for vegeta or a script for k6, to drive the same requests with another tool."""
    from contracts.clock import wall_clock_ms
    from eventlog.files import read_raw
    from replay.engine.clone import Clones
    from replay.engine.export import REQUESTS, SCRIPT, TARGETS, data_file, export_k6, export_vegeta, rendered
    from replay.engine.run import new_run_name
    from replay.engine.schedule import Rewriting, schedule
    from replay.engine.template import GATEWAY_TEMPLATE, read_template

    written = ((out, TARGETS),) if to is ExportTo.VEGETA else ((out, SCRIPT), (data_file(out), REQUESTS))
    expect_outputs(*written, inputs=[recording, target])
    start_ms = wall_clock_ms()
    plan = schedule(
        read_raw(recording),
        pace_of(replay_options.PaceOptions(rate=rate)),
        Rewriting(run or new_run_name(start_ms)),
        start_ms=start_ms,
        limit=events,
        clones=Clones(clone),
    )
    requests = rendered(plan, read_template(target) if target else GATEWAY_TEMPLATE, gateway_url(url))
    count = (export_vegeta if to is ExportTo.VEGETA else export_k6)(requests, out)
    seconds = count / rate
    run_it = (
        f"vegeta attack -format=json -lazy -targets={out} -rate={rate:g} -duration={seconds:.3f}s | vegeta report"
        if to is ExportTo.VEGETA
        else f"k6 run {out}"
    )
    console.print(f"{count:,} requests: {out}\n{run_it}", highlight=False, soft_wrap=True)
