"""`nextclick tune`: settings of the session model that fit a data set, as a file that training reads."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, text_kind, write_output
from nextclick.commands.item_options import Columns, Lists, known_items
from nextclick.commands.training_options import ModelItems, SettingsFile
from nextclick.show.training_bar import TrainingBar

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.items import Item
    from learning.tuning import Best, Task, Trial
    from session_model.histories import Histories
    from session_model.training_settings import Step, TrainingSettings

console = Console()
_BEGUN = "with the settings begun from.\n"
TUNED = text_kind("settings that `nextclick tune` wrote", "# MRR@20 ", _BEGUN, "\n[session_model]")


def tune(
    data: Annotated[
        list[Path],
        typer.Argument(exists=True, help="One session a line (.txt), or event logs (.jsonl.zst), oldest first."),
    ],
    out: Annotated[Path, typer.Option(help="TOML file of the winning settings: give it to --settings.")],
    items: ModelItems = None,
    columns: Columns = None,
    lists: Lists = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials to run, at most.")] = 50,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes; none: after the trials.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="SQLite file that remembers trials: the same one goes on. None: OUT.db.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Latest share of the clicks, to measure on.")
    ] = 0.1,
    last_sessions: Annotated[int | None, typer.Option(help="Take only so many sessions, the latest.")] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="The item clicked last may be the answer, as in published tables.")
    ] = False,
    settings: SettingsFile = None,
    dim: Annotated[int | None, typer.Option(help="Dimensions of items and sessions; they are not tuned.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every training, and of what is tried.")] = 1,
) -> None:
    """Tune the session model on the latest part of a data set; keep later data away from it."""
    from learning.settings_file import training_settings
    from session_model.torch_extra import expect_torch

    expect_torch()
    if find_spec("optuna") is None:
        raise SettingsError("tuning needs optuna: install the `train` extra")
    from learning.tuning import TRIALS, best_of, open_study, run

    path = study or out.with_suffix(".db")
    expect_outputs((out, TUNED), (path, TRIALS), inputs=[*data, items, settings])
    base = training_settings(settings, dim=dim)
    task = _task(data, known_items(items, columns, lists), base, held_out, last_sessions, repeats, seed)
    console.print(f"Trials for {task.fingerprint}, remembered in {path}", highlight=False, soft_wrap=True)
    opened = open_study(path, task)
    began_s = time.monotonic()
    until_s = None if minutes is None else began_s + 60.0 * minutes
    with _Bar(console, "tuning") as bar:
        try:
            run(
                opened,
                task,
                trials=trials,
                clock_s=time.monotonic,
                until_s=until_s,
                progress=bar.show,
                on_trial=lambda trial: _say(trial, opened.best_value if best_of(opened, task) else None),
            )
        except KeyboardInterrupt:
            console.print("Stopped. The same command goes on from here.")
    best = best_of(opened, task)
    if best is None:
        raise SettingsError(f"no trial finished: give it more time than {minutes} minutes, or fewer --last-sessions")
    _write(out, best, task, base, timedelta(seconds=round(time.monotonic() - began_s)))


def _task(
    data: list[Path],
    items: dict[str, Item],
    base: TrainingSettings,
    held_out: float,
    last_sessions: int | None,
    repeats: bool,
    seed: int,
) -> Task:
    import numpy as np

    from learning.tuning import Task
    from session_model.quality import split_by_time

    past = _past(data, base)
    if last_sessions is not None and last_sessions < len(past):
        past = past.pick(np.arange(len(past) - last_sessions, len(past)))
    learnt, later = split_by_time(past, held_out)
    if not later.targets().any():
        raise SettingsError(f"expected next clicks in the latest {held_out:.0%} of {len(past)} sessions, found none")
    return Task(learnt, later, items, base, repeats, seed)


def _past(data: list[Path], base: TrainingSettings) -> Histories:
    from evaluation.sessions import read_session_lines
    from learning.session_models import histories_of
    from session_model.quality import read_histories

    if any(path.suffix == ".txt" for path in data):
        if len(data) != 1:
            raise SettingsError(f"expected one file of session lines, got {len(data)}: tune on the training file alone")
        return histories_of(read_session_lines(data[0], data[0])[0])
    with _Bar(console, "reading") as bar:
        return read_histories(data, base.session, progress=bar.count)


class _Bar(TrainingBar):
    def show(self, number: int, step: Step) -> None:
        mrr = f", MRR@20 {step.mrr:.4f}" if step.mrr else ""
        self.update(f"trial {number}, {step.stage} {step.train_epoch}{mrr}", step.done, step.total or None)

    def count(self, events: int) -> None:
        self.update("reading", events)


def _say(trial: Trial, best: float | None) -> None:
    chosen = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    if trial.value is not None:
        worth = f"MRR@20 {trial.value:.4f}" + (", the best so far" if trial.value == best else "")
    else:
        worth = f"given up after train epoch {max(trial.intermediate_values, default=0)}"
    console.print(f"trial {trial.number}: {worth}   {chosen}", highlight=False, soft_wrap=True)


def _write(out: Path, best: Best, task: Task, base: TrainingSettings, took: timedelta) -> None:
    """Write the winning settings, and those that tuning began from where they are not the defaults."""
    from learning.settings_file import settings_document

    given = base.model_dump(mode="json", exclude_defaults=True)
    comment = (
        f"MRR@20 {best.value:.4f} on the latest sessions, {best.begun_with:.4f} {_BEGUN}"
        f"Trial {best.number} of {best.finished} finished and {best.pruned} given up: {task.fingerprint}.\n"
        f"nextclick {' '.join(word for word in sys.argv[1:])}"
    )
    document = settings_document({**given, **best.chosen}, comment)
    write_output(out, document.encode(), TUNED)
    console.print(f"MRR@20 {best.value:.4f}, {best.begun_with:.4f} with the settings begun from; {took} spent.")
    console.print(f"Written to {out}:")
    console.print(document, markup=False, highlight=False, soft_wrap=True)
