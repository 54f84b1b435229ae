"""One progress bar through reading, training and checking, as every training command shows it."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingBar:
    """Shows what is going on and how far it is."""

    def __init__(self, console: Console, first: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task(first, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._progress.stop()

    def update(self, description: str, done: int, total: int | None = None) -> None:
        """Show `done` of `total` (unknown as yet, or unchanged, when None)."""
        self._progress.update(self._task, description=description, completed=done, total=total)
