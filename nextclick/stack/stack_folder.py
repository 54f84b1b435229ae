"""Whether a folder may take a stack's files: they go into `redis`, `logs` and `trends` of it."""

from __future__ import annotations

import errno
from pathlib import Path

from contracts.errors import OutputRefused
from contracts.outputs import in_words
from state.private import make_private

LOCK = "lock"
_TAKEN = ("redis", "logs", "trends")


def expect_stack_folder(folder: Path) -> None:
    """Raise OutputRefused where files of somebody else lie where the stack's own would go: Redis would load them, and
    logs be cut. A stack's folder is known by its lock file, which is made before anything else.
    """
    lock = folder / LOCK
    if lock.is_symlink() or (lock.exists() and not lock.is_file()):
        raise OutputRefused(f"{lock}: expected a stack's lock, found something else: choose another folder (--folder)")
    found = [name for name in _TAKEN if not lock.exists() and _holds_something(folder / name)]
    if found:
        raise OutputRefused(
            f"{folder}: expected a new folder, or one that a stack made, found {in_words(found)} in it: nothing was "
            "touched; choose another folder (--folder); if these are a stack's, put an empty file `lock` beside them"
        )


def make_stack_private(folder: Path) -> None:
    """Keep what a stack writes from the machine's other users: Redis's files, logs, the trends flow's store. Call it
    once the folder is ours. Raises OSError, but not for a disk that is full: what is made later is private as well.
    """
    for name in _TAKEN:
        try:
            make_private(folder / name)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _holds_something(path: Path) -> bool:
    return path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir()))
