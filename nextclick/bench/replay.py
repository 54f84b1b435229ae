"""`nextclick bench replay`: what the replay engine itself can do, and whether another load tool says the same."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextclick.bench.drive import drive, evenly, target
from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.show.replay import console

if TYPE_CHECKING:
    from replay.engine.play import Played

GLOBO = Path("build/globo/day2.jsonl.zst")


def replay_bench(
    rate: Annotated[float, typer.Option(help="Requests a second of the ceiling.")] = 5000.0,
    seconds: Annotated[float, typer.Option(help="How long each run lasts.")] = 5.0,
    runs: Annotated[int, typer.Option(help="Runs of each kind, in turns; the medians are kept.")] = 5,
    recording: Annotated[Path, typer.Option(help="Clicks to play at 1,000 times, when there.")] = GLOBO,
    events: Annotated[int, typer.Option(help="How many of them.")] = 50_000,
    recording_rate: Annotated[float, typer.Option(help="Events a second into gateways that record, and not.")] = 300.0,
) -> None:
    """Measure the replay engine: its ceiling on one core, a stall, session order, agreement with vegeta, and what
    recording costs a gateway.
    """
    from nextclick.bench.recording import recording_rows

    expect_bench("replay")
    rows = [*ceiling_rows(rate, seconds, runs), *stall_rows(), *agreement_rows(seconds, runs)]
    rows += recording_rows(recording_rate, seconds, max(4, runs))
    if recording.exists():
        rows += order_rows(recording, events)
    rows.append(BenchRow("load of the machine while measuring", round(os.getloadavg()[0], 2), "1 min average"))
    finish("replay", rows, f"make bench-replay ARGS='--rate {rate:g} --seconds {seconds:g} --runs {runs}'")


def ceiling_rows(rate: float, seconds: float, runs: int) -> list[BenchRow]:
    """At a rate on one core: what was reached, how late requests left; and what a request costs when nothing waits."""
    count = round(rate * seconds)
    with target() as url:
        paced = [drive(url, rate, count) for _ in range(runs)]
        flat_out = [drive(url, 1e6, count) for _ in range(runs)]
    reached = [len(one.played.timings) / one.played.elapsed_s for one in paced]
    errors = [one.error_ms for one in paced]
    return [
        BenchRow("requests a second on one core", _median(reached), "1/s", 0.99 * rate, "higher"),
        BenchRow("intended-time error, p99", _median(errors), "ms", 2.0),
        BenchRow("intended-time error, p99, best run", min(errors), "ms", 2.0),
        BenchRow("processor time a request, flat out", _median([one.cpu_us for one in flat_out]), "us"),
        BenchRow(
            "requests a second of processor time",
            1e6 / _median([one.cpu_us for one in flat_out]),
            "1/s",
            5000.0,
            "higher",
        ),
    ]


def stall_rows() -> list[BenchRow]:
    """A target that stalls 2 s at 1,000 requests a second, from the intended time and from sending."""
    with target("--stall-s", "1", "3") as url:
        played = drive(url, 1000.0, 5000, connections=32).played
    latency, service = played.timings.latency(), played.timings.service()
    return [
        BenchRow("2 s stall at 1,000/s: p99 from intended time", latency.p99, "ms", 1800.0, "higher"),
        BenchRow("2 s stall at 1,000/s: max from intended time", latency.max, "ms", 1900.0, "higher"),
        BenchRow("the same stall, p99 from sending (as a closed loop sees it)", service.p99, "ms"),
    ]


def agreement_rows(seconds: float, runs: int, rate: int = 487) -> list[BenchRow]:
    """The same requests from this engine and from vegeta, in turns, on a target whose answers take 4 to 20 ms.

    Both count from sending, as vegeta does; how late this engine sent is told beside it.
    """
    from nextclick.bench.other_tools import VEGETA, NoTool, find_or_build, vegeta
    from replay.engine.export import export_vegeta, rendered
    from replay.engine.template import GATEWAY_TEMPLATE

    try:
        binary = find_or_build(VEGETA)
    except NoTool as reason:
        console.print(f"not compared with another tool: {reason}", style="yellow")
        return []
    drives, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, target("--wait-ms", "4", "20") as url:
        targets = Path(folder) / "targets.jsonl"
        export_vegeta(rendered(evenly(rate, round(rate * seconds)), GATEWAY_TEMPLATE, url), targets)
        for _ in range(runs):
            drives.append(drive(url, rate, round(rate * seconds), pinned=False))
            theirs.append(vegeta(binary, targets, rate, seconds, 64))
    ours = [one.played.timings.service() for one in drives]
    rows = [BenchRow(f"intended-time error at {rate}/s, p99", _median([one.error_ms for one in drives]), "ms")]
    for name in ("p50", "p99"):
        here, there = ([getattr(one, name) for one in each] for each in (ours, theirs))
        rows += [
            BenchRow(f"{name} at {rate}/s, this engine", _median(here), "ms"),
            BenchRow(f"{name} at {rate}/s, vegeta", _median(there), "ms"),
            BenchRow(f"{name}, difference over what is allowed", disagreement(here, there), "share", 1.0),
        ]
    return rows


def disagreement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the difference of the medians as a share of what is allowed: 5% or 0.3 ms, whichever is more."""
    here, there = _median(ours), _median(theirs)
    return round(abs(here - there) / max(0.05 * there, 0.3), 3)


def order_rows(recording: Path, events: int) -> list[BenchRow]:
    """Play recorded clicks at 1,000 times into a target that takes its time, and look at every session's order."""
    import uvloop

    from eventlog.files import read_raw
    from replay.engine.order import OrderTarget
    from replay.engine.pacer import TimesFaster
    from replay.engine.play import Limits, Player
    from replay.engine.schedule import Rewriting, schedule

    async def played() -> tuple[Played, OrderTarget]:
        taking = OrderTarget(seed=7)
        plan = schedule(read_raw(recording), TimesFaster(1000.0), Rewriting("r"), start_ms=0, limit=events)
        return await Player(taking, limits=Limits(connections=64, batch=20)).play(taking.watched(plan)), taking

    played_, taking = uvloop.run(played())
    return [
        BenchRow("recorded clicks played at 1,000 times", float(played_.accepted), "events", float(events), "higher"),
        BenchRow("of them out of their session's order", float(taking.out_of_order), "events", 0.0),
    ]


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)
