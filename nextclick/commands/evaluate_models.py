"""What both evaluations share: sessions of files, trained session models, tables and JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xxhash
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from contracts.errors import SettingsError
from contracts.items import Item
from contracts.outputs import FileKind, write_output
from evaluation.report import describe_machine
from evaluation.sessions import Sessions
from learning.replay import Towers
from learning.training import load_towers
from nextclick.commands.evaluate_work import MADE_FROM, Models
from session_model.artifact import SESSION_MODEL
from session_model.histories import Histories
from session_model.training_settings import TrainingSettings

console = Console()


@dataclass(slots=True)
class Stages:
    """One progress bar after another, and how long each stage took. Mutable."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Shown]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        begun = time.perf_counter()
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
            yield Shown(bar, name)
        self.seconds[name] = round(time.perf_counter() - begun, 2)
        console.print(f"{self.seconds[name]:8.1f} s  {name}", highlight=False)


class Shown:
    """One stage's bar."""

    def __init__(self, bar: Progress, name: str) -> None:
        self._bar, self._name = bar, name
        self._task = bar.add_task(name, total=None)

    def show(self, done: int, total: int | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def step(self, step: Any) -> None:
        """Show a step of either training."""
        self._bar.update(
            self._task, description=f"{self._name}: {step.stage}", completed=step.done, total=step.total or None
        )


def session_model(
    sessions: Sessions,
    items: Mapping[str, Item],
    models: Models,
    name: str,
    shown: Shown,
    *,
    seed: int,
    training: TrainingSettings,
) -> Towers:
    """Return the session model of this name, trained on the sessions where there is none yet. Raises SettingsError for
    one that an evaluation trained on other sessions, with other settings or another seed.
    """
    made_from = _fingerprint(sessions, items, training, seed)
    found = models.find(name)
    if found is None:
        if find_spec("torch") is None:
            raise SettingsError("training needs torch, which serving does without: install the `train` extra")
        from session_model.training import train_on

        found = models.place(name)
        found.mkdir(parents=True, exist_ok=True)
        (found / MADE_FROM).write_text(made_from)  # first: a model is never there without it
        train_on(histories_of(sessions), items, training, found / SESSION_MODEL, seed=seed, progress=shown.step)
    elif not (found / MADE_FROM).exists():
        console.print(
            f"The session model in {found} was not trained here: it may have learnt from what it is asked.",
            style="yellow",
            soft_wrap=True,
        )
    elif (found / MADE_FROM).read_text() != made_from:
        raise SettingsError(
            f"expected the session model in {found} to come from these sessions, items, settings and seed, "
            f"got one from others: give another --artifacts folder, or delete {found / SESSION_MODEL}"
        )
    return load_towers(found)


def _fingerprint(sessions: Sessions, items: Mapping[str, Item], training: TrainingSettings, seed: int) -> str:
    """Return what names a training: 16 hex digits."""
    told = xxhash.xxh3_64()
    for part in (sessions.items, sessions.codes, sessions.starts, sessions.ts_ms):
        told.update(np.ascontiguousarray(part).data)
    told.update("\n".join((*sessions.item_ids, training.model_dump_json(), str(seed))).encode())
    for item_id, item in items.items():
        told.update(f"\n{item_id} {item.model_dump_json()}".encode())
    return told.hexdigest()


def histories_of(sessions: Sessions) -> Histories:
    """Return the sessions as the session model's training takes them."""
    return Histories(
        item_ids=sessions.item_ids,
        items=sessions.items,
        codes=sessions.codes,
        starts=sessions.starts,
        ended_ms=sessions.ts_ms[sessions.starts[1:] - 1],
    )


def write_json(path: Path, result: Mapping[str, Any], kind: FileKind) -> None:
    """Write a result with the machine that made it."""
    document = {"machine": str(describe_machine()), **result}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    write_output(path, orjson.dumps(document, default=_plain, option=options) + b"\n", kind)


def _plain(value: Any) -> Any:
    """Return a named tuple by its names."""
    return value._asdict()
