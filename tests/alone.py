"""Tests with the marker `alone` measure time: while one runs, no other worker of the same run runs a test."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = "nextclick_alone"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Name the folder of the locks to a worker of pytest-xdist."""
    config: pytest.Config = node.config
    folder = config.stash.get(_LOCKS, None)
    if folder is None:
        folder = config.stash[_LOCKS] = tempfile.TemporaryDirectory(prefix="nextclick-tests-")
        config.add_cleanup(folder.cleanup)
    node.workerinput[FOLDER] = folder.name


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run the test beside others, or alone."""
    worker: dict[str, str] | None = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    with _place(Path(worker[FOLDER]), alone=item.get_closest_marker("alone") is not None):
        return (yield)


_LOCKS = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


@contextmanager
def _place(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold a place among the tests that run, or the only one. Who waits for the only one keeps others from starting."""
    with (folder / "door").open("w") as door, (folder / "running").open("w") as running:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:  # a closed file would stay locked as long as a forked child has it
            fcntl.flock(running, fcntl.LOCK_UN)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first for pytest-xdist, so that the workers end together; in front those that hold others up."""
    if hasattr(config, "workerinput"):
        marked = {name: {item.path for item in items if item.get_closest_marker(name)} for name in ("alone", "slow")}
        items.sort(key=lambda item: (item.path not in marked["alone"], item.path not in marked["slow"]))
