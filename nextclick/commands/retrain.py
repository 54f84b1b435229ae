"""`nextclick retrain`: train a candidate, judge it against the models that serve, publish it where it is not worse."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from contracts.retrain_status import Outcome
from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.models_options import FolderOption, caller, registry_at
from nextclick.commands.training_options import RerankerItems, SettingsFile
from registry.folder import SERVING, Registry
from registry.gate import METRICS, Change, Ruling, ruling
from registry.retrained import noting
from registry.version import DataRange, ModelVersion

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from learning.judging import Trial

console = Console(highlight=False, soft_wrap=True)
NICENESS = 10
"""Training goes behind whatever serves."""
LEAST_QUESTIONS = 100
PAGE = 20
"""Items of a page that both are asked for."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate says of a candidate, and the figures that it looked at."""

    ruling: Ruling
    figures: dict[str, float]


def retrain(
    recording: Annotated[
        Path, typer.Argument(exists=True, help="Recorded events up to now (.jsonl.zst); `nextclick replay record`.")
    ],
    folder: FolderOption = None,
    items: RerankerItems = None,
    columns: Columns = None,
    lists: Lists = None,
    settings: SettingsFile = None,
    newest: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Newest share of the events: judged on, never trained on.")
    ] = 0.1,
    metric: Annotated[
        list[str] | None, typer.Option(help=f"What must not get worse: {', '.join(METRICS)}. Repeatable; none: mrr.")
    ] = None,
    may_lose: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of each metric that the candidate may lose.")
    ] = 0.02,
    questions: Annotated[int, typer.Option(min=LEAST_QUESTIONS, help="Pages that both are asked for, at most.")] = 5000,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Let it serve where it passes.")] = True,
    note: Annotated[str, typer.Option(help="Kept with the version.")] = "",
    mlflow: Annotated[
        str, typer.Option(help="Tell the training to MLflow too: an address, or file:FOLDER (the `mlflow` extra).")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed and input give the same models.")] = 1,
) -> None:
    """Train on all but the newest events, judge on those, publish what is not worse. Exit status 1 where it is not."""
    from learning.judging import Trial
    from learning.settings_file import reranker_settings, training_settings
    from learning.tracking import expect_tracking
    from nextclick.show.training import models_watched, people_of
    from replay.engine.retime import write_first_part

    registry, table, metrics = registry_at(folder), table_of(items, columns, lists), tuple(metric or ["mrr"])
    if strange := [name for name in metrics if name not in METRICS]:
        raise SettingsError(f"--metric: expected one of {', '.join(METRICS)}, got {', '.join(strange)}")
    if mlflow:
        expect_tracking()
    chosen = reranker_settings(settings, None)
    known = {} if table is None else dict(table.read())
    os.nice(NICENESS)
    with (
        noting(registry.folder) as note_outcome,
        TemporaryDirectory(prefix="nextclick-retrain-") as aside,
        people_of([recording]) as [recording],
    ):
        past, made = Path(aside) / "past.jsonl.zst", Path(aside) / "models"
        write_first_part(recording, 1.0 - newest, past)
        training = training_settings(settings)
        models_watched(past, table, made, training, chosen, seed=seed, serve=False)
        trial = Trial(recording, known, chosen, questions, PAGE, 1.0 - newest, seed)
        judgement = _judged(registry, trial, made, metrics, may_lose)
        used = {"session_model": training.model_dump(mode="json"), "reranker": chosen.model_dump(mode="json")}
        version = _kept(registry, made, judgement, note, _learnt(recording, past), used)
        if mlflow:
            _tracked(mlflow, version, passes=judgement.ruling.passes)
        console.print(f"{version.name}: {judgement.ruling.why}", markup=False)
        note_outcome(publish_what_passes(registry, version.name, judgement.ruling, publish=publish))
    if not judgement.ruling.passes:
        raise typer.Exit(1)


def _judged(registry: Registry, trial: Trial, candidate: Path, metrics: tuple[str, ...], may_lose: float) -> Judgement:
    """Hold the candidate against the version that serves. Where none does, it passes."""
    from learning.judging import changes
    from nextclick.show.scenario_tables import difference_table
    from nextclick.show.stages import BarStages

    serving = registry.serving()
    if serving is None:
        return Judgement(Ruling(True, "Nothing serves yet: the first version is not judged."), {})
    found, asked = changes(trial, registry.path_of(serving), candidate, BarStages(console))
    console.print(difference_table(found, serving, "the candidate"))
    if asked < LEAST_QUESTIONS:
        why = f"Only {asked} pages of the newest events could be asked, {LEAST_QUESTIONS} are wanted: record longer."
        return Judgement(Ruling(False, why), {})
    judged = {name: Change(one.old, one.new, one.change.low, one.change.high) for name, one in found.items()}
    try:
        ruled = ruling(judged, metrics, may_lose)
    except ValueError as error:
        raise SettingsError(f"--metric: {error}") from error
    figures = {name: one.new for name, one in found.items() if one.new == one.new}
    return Judgement(ruled, {**figures, "pages": float(asked)})


def _tracked(mlflow: str, version: ModelVersion, *, passes: bool) -> None:
    """Tell MLflow of a version. Where it does not take it, that is said: the version is kept, and says the same."""
    from learning.tracking import TrackingFailed, track

    try:
        track(mlflow, version, passes=passes)
    except TrackingFailed as error:
        console.print(str(error), style="yellow", markup=False)


def publish_what_passes(registry: Registry, name: str, ruled: Ruling, *, publish: bool) -> Outcome:
    """Let a candidate serve that passes, if that is asked for and no other is pinned; returns what came of it."""
    if not ruled.passes:
        return "refused"
    if not publish:
        return "passed"
    pinned = registry.pinned()
    if pinned not in (None, name):
        console.print(f"{name} does not serve: {pinned} is pinned (`nextclick models pin --none`)", markup=False)
        return "passed"
    before = registry.serving()
    registry.publish(name, now_ms=wall_clock_ms(), by=caller(), why=ruled.why)
    console.print(f"{name} serves: NEXTCLICK_ARTIFACTS={registry.folder / SERVING}", markup=False)
    return "published" if before != name else "passed"


def _learnt(recording: Path, past: Path) -> DataRange:
    """Return what a candidate learnt from: the part of the recording that it was given."""
    from eventlog.files import read_header

    header = read_header(past)
    return DataRange(sources=[recording.name], first_ms=header.first_ms, last_ms=header.last_ms, events=header.events)


def _kept(
    registry: Registry, made: Path, judgement: Judgement, note: str, data: DataRange, settings: dict[str, Any]
) -> ModelVersion:
    """Add the candidate as a version, with what it was made of and what was found."""
    return registry.add(
        made,
        now_ms=wall_clock_ms(),
        by=caller(),
        note=note or judgement.ruling.why,
        parent=registry.serving(),
        code_version=metadata.version("nextclick"),
        settings=settings,
        data=data,
        figures=judgement.figures,
    )
