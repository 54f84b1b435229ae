"""How long work says how far it is: whoever runs it shows that, on a terminal or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Shown(Protocol):
    """One stage that is under way."""

    def show(self, done: int, total: int | None = None) -> None:
        """Say how much of the stage is done; `total` None: not known."""

    def step(self, step: Any) -> None:
        """Say which step of a training is done: its `stage`, `done` and `total`."""

    def warn(self, text: str) -> None:
        """Say what a reader of the figures has to know."""


class Stages(Protocol):
    """One stage after another. `seconds`: how long each took, by name."""

    @property
    def seconds(self) -> dict[str, float]: ...

    def stage(self, name: str) -> AbstractContextManager[Shown]:
        """Begin a stage; it ends with the block."""
