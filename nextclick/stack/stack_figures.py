"""What the process that starts and watches a machine's parts shows of them on its `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Final

from contracts.figures import Figures
from nextclick.stack.processes import Part, is_running

FIGURES: Final = Figures("nextclick_stack_")
_info = FIGURES.gauge("info", "1; the release that runs, and the models that it was started with.", "version", "models")
_up = FIGURES.gauge("part_up", "1 while the part runs.", "part")
_well = FIGURES.gauge("part_well", "1 while the part runs and did not die lately.", "part")
_restarts = FIGURES.counter("part_restarts", "Times that the part was started again.", "part")


_watched: list[Callable[[], Sequence[Part]]] = []


def watch(parts: Callable[[], Sequence[Part]], models: str) -> None:
    """Show these parts from now on. models: the version of a registry, or nothing."""
    _watched[:] = [parts]
    _info.values.clear()
    _info.set(1, metadata.version("nextclick"), models)


def _look() -> None:
    for part in [part for parts in _watched for part in parts()]:
        _up.set(float(is_running(part)), part.name)
        _well.set(float(is_running(part) and part.fate.down_since is None), part.name)
        _restarts.set(part.fate.restarts, part.name)


FIGURES.before(_look)
