"""In a checkout that was never run, one worker of a run collects first, and the others after it, side by side.

What the tests import, some five thousand modules, is compiled to bytecode by whoever imports it first. Workers that
start together would each compile all of it: half a minute of a core for each.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.alone import FOLDER


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect at once, or after the worker that compiles."""
    worker: dict[str, str] | None = getattr(session.config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode or _is_compiled(session.config.rootpath):
        return (yield)
    with _after_the_first(Path(worker[FOLDER])):
        return (yield)


def _is_compiled(root: Path) -> bool:
    """Tell whether tests were collected here before, to judge by those of one of the last folders."""
    return any(root.glob("tests/state/__pycache__/test_*.pyc"))


@contextmanager
def _after_the_first(folder: Path) -> Iterator[None]:
    """Hold the others up while nobody is through yet; whoever comes later holds nobody up."""
    with (folder / "collecting").open("a") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            if door.seek(0, 2):
                fcntl.flock(door, fcntl.LOCK_UN)
            yield
            door.write("through\n")
            door.flush()
        finally:
            fcntl.flock(door, fcntl.LOCK_UN)
