"""Where compiled kernels are kept: a private folder of this user, filled once for each release and processor."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

_PROGRESS = ".progress"
_PROGRESS_S = 10.0
"""A line older than this was left by a process that died."""
VARIABLE = "NEXTCLICK_KERNEL_CACHE"
"""Environment variable that names another folder."""


def cache_folder() -> Path | None:
    """Return the folder, made and private; None where none can be written, and then nothing is kept.

    It is `$NEXTCLICK_KERNEL_CACHE`, else `nextclick/kernels` in the user's cache folder, else one in the machine's
    folder for temporary files. What it holds is run as code, so a folder that others own or may write is refused.
    """
    for base in _candidates():
        folder = base / _version()
        with suppress(OSError):
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if _is_private(base) and _is_private(folder):
                return folder
    log.warning("compiled kernels cannot be kept, and each process compiles its own: name a folder by %s", VARIABLE)
    return None


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Hold the folder, so that of several processes that start together one compiles and the others load."""
    if folder is None:
        yield
        return
    try:
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # read-only by now, or full: compile what is not there
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def show_progress(folder: Path | None, text: str) -> None:
    """Leave a line for whoever waits for this process; empty: take it away."""
    if folder is not None:
        with suppress(OSError):
            (folder / _PROGRESS).write_text(text) if text else (folder / _PROGRESS).unlink(missing_ok=True)


def progress_shown() -> str:
    """Return what a process that compiles now says of it; empty when none does."""
    for base in _candidates():
        path = base / _version() / _PROGRESS
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _PROGRESS_S:
                return path.read_text()
    return ""


def _candidates() -> list[Path]:
    named = os.environ.get(VARIABLE)
    if named:
        return [Path(named).absolute()]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [Path(home) / "nextclick" / "kernels", Path(tempfile.gettempdir()) / f"nextclick-kernels-{os.getuid()}"]


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others_write
    return mine and os.access(folder, os.W_OK)


@cache
def _version() -> str:
    """Return a name for the code that kernels of every file may call: numba looks at their own file alone."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
