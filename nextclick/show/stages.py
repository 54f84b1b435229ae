"""The stages of a long work in the terminal: a progress bar each, then how long it took. See `learning.stages`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass(slots=True)
class BarStages:
    """One progress bar after another. Mutable: `seconds` grows."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[StageBar]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        begun = time.perf_counter()
        with Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True
        ) as bars:
            yield StageBar(bars, name)
        self.seconds[name] = round(time.perf_counter() - begun, 2)
        self.console.print(f"{self.seconds[name]:8.1f} s  {name}", highlight=False)


class StageBar:
    """One stage's bar."""

    def __init__(self, bars: Progress, name: str) -> None:
        self._bars, self._name = bars, name
        self._task = bars.add_task(name, total=None)

    def show(self, done: int, total: int | None = None) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def step(self, step: Any) -> None:
        """Show a step of either training."""
        self._bars.update(
            self._task, description=f"{self._name}: {step.stage}", completed=step.done, total=step.total or None
        )

    def warn(self, text: str) -> None:
        warn(self._bars.console, text)


def warn(console: Console, text: str) -> None:
    """Say what a reader of the figures has to know."""
    console.print(text, style="yellow", soft_wrap=True)
