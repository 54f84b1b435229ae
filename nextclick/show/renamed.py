"""A command under its name of before."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rich.console import Console


def renamed(command: Callable[..., None], before: str, group: str, verb: str) -> Callable[..., None]:
    """Return the command, which says its name of now before it runs."""

    @wraps(command)
    def run(**given: Any) -> None:
        Console(stderr=True).print(f"`nextclick {before}` is called `nextclick {group} {verb}` now.", highlight=False)
        command(**given)

    return run
