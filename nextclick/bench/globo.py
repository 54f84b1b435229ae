"""`nextclick bench globo`: a recorded day of news clicks through the running stack, many times as fast."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.clock import wall_clock_ms
from contracts.errors import ArtifactError, NextclickError
from contracts.keys import TRENDS
from contracts.settings import SessionSettings
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.bench.running import running_stack
from nextclick.stack.options import setting_option
from nextclick.stack.settings import StackSettings

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from nextclick.stack.stack import Stack
    from replay.measure.result import PlayResult

BUILD = Path("build/globo")
CATCH_UP_S = 120.0
QUIET_S = 3.0
IDLE_GAP_S = SessionSettings().idle_gap.total_seconds()


def globo(
    clicks: Annotated[Path, typer.Option(help="The publisher's clicks.zip.")] = Path("../shared/data/globo/clicks.zip"),
    speed: Annotated[float, typer.Option(help="How many times as fast as it was recorded.")] = 100.0,
    events: Annotated[int | None, typer.Option(help="Stop after so many events.")] = None,
    recommend: Annotated[float, typer.Option(help="Share of the clicks before which to ask.")] = 1.0,
    half_life_hours: Annotated[
        float | None,
        setting_option("trend.half_life", help="Half-life of trends in hours; recent ones fade 48 times faster."),
    ] = None,
) -> None:
    """Train on Globo's first day, replay the second through the running stack, count what became of every event.

    The stack first takes in the first day, as it would have by then. A day that is played a hundred times as fast
    has trends that fade, items that age and visitors who read a hundred times as fast: the half-life and the pause that
    ends a session are divided by the speed, and the re-ranker learns from the first day at that speed.
    """
    from nextclick.stack.progress import progress_table

    expect_bench("globo")
    half_life_hours = half_life_of(half_life_hours)
    day1, day2 = _globo_days(clicks)
    model_folder = _globo_artifacts(day1, speed, half_life_hours)
    with running_stack(model_folder, _hurried(speed, half_life_hours)) as stack:
        _take_in(stack, day1, speed)
        before = _counts_when_applied(stack)
        result = _play(stack, day1, day2, speed, events, recommend)
        counted = _counts_when_applied(stack)
        console.print(progress_table(stack.running_settings))
    grown = {name: counted[name] - before[name] for name in counted}
    rows = [*_play_rows(result), *_count_rows(result, grown)]
    finish("globo", rows, f"make bench-globo ARGS='--speed {speed:g} --recommend {recommend:g}'")


def half_life_of(hours: float | None) -> float:
    """Return the half-life of trends in hours: the given one, or what the settings say."""
    return hours if hours is not None else StackSettings().trend.half_life.total_seconds() / 3600


def _hurried(speed: float, half_life_hours: float) -> dict[str, str]:
    """Return the environment of a stack that serves articles known by their clicks alone, so many times as fast."""
    return {
        "NEXTCLICK_TREND__CATALOGUE_FROM_CLICKS": "true",
        "NEXTCLICK_TREND__VISITORS": "1",
        "NEXTCLICK_TREND__HALF_LIFE": f"PT{3600 * half_life_hours / speed:.3f}S",
        "NEXTCLICK_SESSION__IDLE_GAP": f"PT{IDLE_GAP_S / speed:.3f}S",
    }


def _take_in(stack: Stack, day1: Path, speed: float) -> None:
    """Play a day into the log as fast as it goes, its times moved so that it ends now, and wait for the trends."""
    import uvloop

    from eventlog.files import write_events
    from replay.engine.choices import Times
    from replay.engine.pacer import FixedRate
    from replay.engine.retime import retimed
    from replay.engine.run import PlayOptions, play_recording

    with tempfile.TemporaryDirectory() as folder, console.status("taking in the first day"):
        recording = Path(folder) / "moved.jsonl.zst"
        write_events(recording, retimed(day1, speed, end_ms=wall_clock_ms()))
        options = PlayOptions(recording, url=stack.url, pace=FixedRate(2_500.0), time=Times.RECORDED, run="past")
        uvloop.run(play_recording(options, stack.running_settings))
        _wait_for_trends(stack)


def _wait_for_trends(stack: Stack) -> None:
    """Return once the trends table has not changed for three seconds."""
    from state.tables import TableReader

    reader = TableReader(stack.running_settings.redis, TRENDS)
    seen, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < QUIET_S:
        if (end := reader.end()) != seen:
            seen, quiet_since = end, time.monotonic()
        time.sleep(0.2)
    reader.close()


def _globo_days(clicks: Path) -> tuple[Path, Path]:
    from replay.importers import IMPORTERS, Hours, import_log

    days = []
    for day in range(2):
        path = BUILD / f"day{day + 1}.jsonl.zst"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with console.status(f"importing day {day + 1}"):
                import_log(IMPORTERS["globo"], clicks, path, hours=Hours.of_days(f"{day}:{day + 1}"))
        days.append(path)
    return days[0], days[1]


def _globo_artifacts(day1: Path, speed: float, half_life_hours: float) -> Path:
    """Return the folder of artifacts for this speed, trained on the first day when missing or of another release."""
    from learning.settings_file import with_half_life
    from learning.training_settings import RerankTrainingSettings
    from nextclick.show.training import models_watched
    from rerank.ranker import Ranker
    from session_model.training_settings import TrainingSettings

    folder = BUILD / f"artifacts-{speed:g}x-{half_life_hours:g}h"
    try:
        Ranker.load(folder / "reranker")
    except ArtifactError:
        reranking = with_half_life(RerankTrainingSettings(), timedelta(hours=half_life_hours))
        models_watched(day1, None, folder, TrainingSettings(), reranking, speed, seed=1)
    return folder


def _play(stack: Stack, day1: Path, day2: Path, speed: float, events: int | None, recommend: float) -> PlayResult:
    from nextclick.show.replay import play_and_show
    from replay.engine.pacer import TimesFaster
    from replay.engine.run import PlayOptions, Questions

    questions = Questions(share=recommend, prime=day1) if recommend > 0 else None
    options = PlayOptions(day2, url=stack.url, pace=TimesFaster(speed), events=events, questions=questions)
    return play_and_show(options)


def _counts_when_applied(stack: Stack) -> dict[str, int]:
    from nextclick.stack.progress import read_progress, totals

    until = time.monotonic() + CATCH_UP_S
    while (counted := totals(read_progress(stack.running_settings)))["lag"]:
        if time.monotonic() > until:
            raise NextclickError(
                f"expected the session path to catch up within {CATCH_UP_S:.0f} s, lag {counted['lag']}: "
                f"{stack.whose_fault()}"
            )
        time.sleep(0.1)
    return counted


def _play_rows(result: PlayResult) -> list[BenchRow]:
    rows = [
        BenchRow("events a second", result.rate, "1/s", None, "higher"),
        BenchRow("event accepted, p50 from intended time", result.latency.p50, "ms"),
        BenchRow("event accepted, p99 from intended time", result.latency.p99, "ms"),
    ]
    if result.answers is not None:
        rows += [
            BenchRow("recommendations asked", float(result.answers.questions), "1", None, "higher"),
            BenchRow("recommendation, p50 from sending", result.answers.service.p50, "ms"),
            BenchRow("recommendation, p99 from sending", result.answers.service.p99, "ms"),
        ]
    if result.hit_rates is not None:
        for population, models in result.hit_rates.tallies.items():
            for model, tally in models.items():
                name = f"next click, {population}: {model}"
                rows.append(BenchRow(f"{name}, HR@20", tally.hit_rate(20), "share", None, "higher"))
                rows.append(BenchRow(f"{name}, MRR@20", tally.mrr(20), "share", None, "higher"))
    return rows


def _count_rows(result: PlayResult, counted: dict[str, int]) -> list[BenchRow]:
    settled = counted["applied"] + counted["duplicate"] + counted["dead_lettered"]
    return [
        BenchRow("accepted", float(result.accepted), "events", None, "higher"),
        BenchRow("applied", float(counted["applied"]), "events", None, "higher"),
        BenchRow("duplicates", float(counted["duplicate"]), "events"),
        BenchRow("dead-lettered", float(counted["dead_lettered"]), "events"),
        BenchRow(
            "accepted but neither applied, duplicate nor dead-lettered", float(result.accepted - settled), "events", 0.0
        ),
    ]
