"""Tuning the session model: what is tried, what a trial is worth, and the study that remembers it. Optuna chooses.

A trial trains on the earlier sessions and is worth the MRR@20 of the later ones. Its own check after each train epoch
(on sessions before those later ones) tells hopeless trials from the others early.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

import optuna
from optuna.trial import TrialState

from contracts.errors import SettingsError
from contracts.items import Item
from contracts.outputs import FileKind, expect_replaceable
from session_model.histories import Histories
from session_model.training_settings import Step, TrainingSettings

if TYPE_CHECKING:
    from session_model.quality import Quality

STUDY = "session-model"
Trial: TypeAlias = optuna.trial.FrozenTrial


def _is_study(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as opened:
            found = {str(name) for (name,) in opened.execute("SELECT study_name FROM studies")}
            return not found or STUDY in found
    except sqlite3.Error:
        return False


TRIALS = FileKind("a study of `nextclick tune`", _is_study)
MAX_CASES = 10_000
"""Predictions that a trial is measured on, evenly spread over the later sessions."""
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Span:
    """The values between which a setting is tried; `log`: evenly in its logarithm. Whole numbers when both ends are."""

    low: float
    high: float
    log: bool = False


SPACE: Final[Mapping[str, Span | tuple[int, ...]]] = {
    "learning_rate": Span(0.001, 0.03, log=True),
    "scale": Span(8.0, 24.0),
    "train_epochs": Span(3, 12),
    "batch_sessions": (128, 256, 512),
    "negatives": (256, 512, 1024, 2048, 4096),
    "negative_power": Span(0.0, 1.0),
    "input_dropout": Span(0.0, 0.6),
    "memory": (0, 32, 64, 128),
    "memory_dropout": Span(0.0, 0.6),
    "id_dropout": Span(0.0, 0.6),
    "neighbours": (0, 6, 12, 24),
    "neighbour_dropout": Span(0.0, 0.9),
    "recency_half_life": Span(0.05, 4.0, log=True),
    "settle_rate": Span(0.05, 1.0, log=True),
    "settle_half_life": Span(0.01, 0.5, log=True),
}
"""What is tried for each setting; a tuple is tried value by value."""
WITH_CONTENT: Final = frozenset({"id_dropout"})
"""Settings that change nothing without a catalogue."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to tune for. `repeats`: the item clicked last is a possible answer, as published tables count."""

    learnt: Histories
    later: Histories
    items: Mapping[str, Item]
    base: TrainingSettings
    repeats: bool
    seed: int

    @property
    def fingerprint(self) -> str:
        """What makes trials comparable, in words."""
        return (
            f"{len(self.learnt)} and {len(self.later)} sessions, {len(self.learnt.items)} and {len(self.later.items)} "
            f"clicks, {len(self.items)} catalogue items, {'with' if self.repeats else 'without'} repeats, "
            f"dim {self.base.dim}, text {self.base.text!r}{''.join(self._beyond)}"
        )

    @property
    def _beyond(self) -> list[str]:
        """The settings begun from that are tried value by value and are none of SPACE's values, in words."""
        choices = {name: span for name, span in SPACE.items() if name in self.names and isinstance(span, tuple)}
        begun = {name: getattr(self.base, name) for name in choices}
        return [f", {name} {begun[name]}" for name, span in choices.items() if begun[name] not in span]

    def tried(self, choices: tuple[int, ...], name: str) -> tuple[int, ...]:
        """Return the values that are tried of a setting: its choices, and the one begun from."""
        begun: int = getattr(self.base, name)
        return choices if begun in choices else (*choices, begun)

    @property
    def names(self) -> list[str]:
        """The settings that are tried."""
        return [name for name in SPACE if self.items or name not in WITH_CONTENT]


@dataclass(frozen=True, slots=True)
class Best:
    """The winning trial and the one with the settings that tuning began from."""

    number: int
    value: float
    chosen: dict[str, float | int]
    begun_with: float
    finished: int
    pruned: int


def open_study(path: Path, task: Task) -> optuna.Study:
    """Open the study in an SQLite file, new or begun before. Raises SettingsError when it was for other input,
    OutputRefused for a file that is no study of ours.
    """
    expect_replaceable(path, TRIALS)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=STUDY,
        storage=f"sqlite:///{path}",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    # a study that goes on draws anew instead of repeating its first trials
    study.sampler = optuna.samplers.TPESampler(seed=task.seed + len(study.trials))
    held = study.user_attrs.get("task")
    if held is not None and held != task.fingerprint:
        raise SettingsError(f"{path} holds trials for {held}; these would be for {task.fingerprint}: name another file")
    if held is None:
        study.set_user_attr("task", task.fingerprint)
        study.enqueue_trial({name: getattr(task.base, name) for name in task.names})
    return study


def run(
    study: optuna.Study,
    task: Task,
    *,
    trials: int,
    clock_s: Callable[[], float],
    until_s: float | None,
    progress: Callable[[int, Step], None] = lambda number, step: None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Run so many more trials, or until `clock_s` says `until_s`: the trial under way stops after its train epoch."""

    def late() -> bool:
        return until_s is not None and clock_s() >= until_s

    def objective(trial: optuna.Trial) -> float:
        def watch(step: Step) -> None:
            progress(trial.number, step)
            if step.stage == "check" and step.mrr is not None:
                trial.report(step.mrr, step.train_epoch)
                if late() or trial.should_prune():
                    raise optuna.TrialPruned

        return worth(task, suggested(trial, task), watch)

    for _ in range(trials):
        if late():
            return
        with warnings.catch_warnings():  # the first trial's settings may lie outside of what is tried
            warnings.simplefilter("ignore", UserWarning)
            study.optimize(objective, n_trials=1)
        on_trial(study.trials[-1])


def suggested(trial: optuna.Trial, task: Task) -> TrainingSettings:
    """Return the settings of a trial, rounded as they are written."""
    chosen: dict[str, float | int] = {}
    for name in task.names:
        span = SPACE[name]
        if isinstance(span, tuple):
            chosen[name] = int(trial.suggest_categorical(name, task.tried(span, name)))
        elif isinstance(span.low, int) and isinstance(span.high, int):
            chosen[name] = trial.suggest_int(name, span.low, span.high, log=span.log)
        else:
            chosen[name] = rounded(trial.suggest_float(name, span.low, span.high, log=span.log))
    return TrainingSettings.model_validate({**task.base.model_dump(), **chosen})


def worth(task: Task, settings: TrainingSettings, progress: Callable[[Step], None]) -> float:
    """Train on the earlier sessions and return the MRR@20 of the later ones."""
    from session_model.quality import model_quality
    from session_model.training import train_on

    with TemporaryDirectory(prefix="nextclick-tune-") as folder:
        out = Path(folder) / "model"
        trained = train_on(task.learnt, task.items, settings, out, seed=task.seed, progress=progress)
        found: Quality = model_quality(
            task.later, trained.folder, task.items, with_last=task.repeats, max_cases=MAX_CASES
        )
    return found.mrr


def best_of(study: optuna.Study, task: Task) -> Best | None:
    """Return what won so far, None before a trial has finished."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return None
    won = study.best_trial
    usual = TrainingSettings()  # what an older release's trial did not try was as the defaults are
    chosen = {name: won.params.get(name, getattr(usual, name)) for name in task.names}
    return Best(
        number=won.number,
        value=float(won.value or 0.0),
        chosen={name: rounded(value) if isinstance(value, float) else value for name, value in chosen.items()},
        begun_with=float(done[0].value or 0.0) if done[0].number == 0 else 0.0,
        finished=len(done),
        pruned=len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))),
    )


def rounded(value: float) -> float:
    """Round to three significant digits, as settings are written."""
    return float(f"{value:.{_DIGITS}g}")
