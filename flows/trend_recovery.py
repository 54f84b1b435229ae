"""The folder that the trends flow recovers from: made once, kept with the flow. A store that another release wrote,
whose state this one cannot read, or that is damaged, is put aside, and the flow counts what the log still holds.

A full disk ends the flow at its next snapshot: the store stays at the last whole one, which the flow resumes from.

python -m flows.trend_recovery FOLDER        makes it if it is not there, and prints the arguments to run with
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from bytewax.recovery import init_db_dir
from xxhash import xxh3_64_hexdigest

from contracts.codec import TREND_COUNTS
from contracts.errors import OutputRefused
from contracts.logs import log_as
from contracts.outputs import found_at
from flows.recovery_arguments import recovery_arguments
from flows.trend_steps import SavedSessions, ShowingTally
from retrieval.open_sessions import OpenSession, ReadUpTo, Recognised
from retrieval.showings import ShowingCounts
from retrieval.trend_counts import SavedCounts

log = logging.getLogger(__name__)

STATE_VERSION = 6
"""Raised when what the flow keeps of a session or an item changes its meaning; fields and classes are seen to."""
_KEPT = (OpenSession, Recognised, ReadUpTo, SavedSessions, SavedCounts, ShowingTally, ShowingCounts)
_VERSION_FILE = "state-version"
_PARTS = "part-*.sqlite3"
_SQLITE = b"SQLite format 3\0"

_PARTITIONS = 1  # fixed for the folder's life; one file serves any number of processes that share the folder
_ROOM = 1 << 18
_DAMAGE = ("not a database", "malformed", "no such table")


def state_version(kept: Sequence[type] = _KEPT, counts: Sequence[str] = TREND_COUNTS) -> str:
    """Return what a store's state is known by: STATE_VERSION, and a hash of the classes kept, their fields and the
    counts of an item, because Bytewax pickles them by name and position.
    """
    names = [f"{one.__module__}.{one.__qualname__}:{[field.name for field in fields(one)]}" for one in kept]
    return f"{STATE_VERSION}-{xxh3_64_hexdigest(repr([*names, *counts]).encode())[:8]}"


def prepare_recovery(folder: Path) -> list[str]:
    """Make the recovery store if it is not there; returns `bytewax.run`'s arguments that use it.

    Raises OutputRefused for files in its place that are no store, OSError where it cannot be made. The store appears
    whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stores = _stores(folder)
    if stores and _version_of(folder) != state_version():
        _put_aside(folder, f"before-version-{STATE_VERSION}", "another release wrote it")
    elif damage := next(filter(None, map(_damage, stores)), None):
        _put_aside(folder, "damaged", f"it is damaged ({damage})")
    if not any(folder.glob(_PARTS)):
        _make(folder)
    return recovery_arguments(folder)


def prepare_empty(folder: Path) -> list[str]:
    """Make the folder of a machine that keeps nothing of the store; returns the arguments, as `prepare_recovery`.

    Bytewax recovers from the parts that it finds in the folders of all its processes. Raises OutputRefused for a folder
    that has parts, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(_PARTS)):
        raise OutputRefused(
            f"{folder}: expected no recovery store, as the first machine (--index 0) keeps it whole, found one: "
            "start as the first the machine whose store is to go on, and name an empty folder on the others"
        )
    return recovery_arguments(folder)


def _version_of(folder: Path) -> str | None:
    try:
        return (folder / _VERSION_FILE).read_text()
    except FileNotFoundError:
        return None


def _stores(folder: Path) -> list[Path]:
    """Return the store's files. Raises OutputRefused for one that is somebody else's."""
    found = sorted(folder.glob(_PARTS))
    for path in found:
        if path.is_symlink() or not _is_store(path):
            raise OutputRefused(
                f"{path}: expected the recovery store of the trends flow, found {found_at(path)}: it was left as it "
                "is; name another folder, or move it away"
            )
    return found


def _is_store(path: Path) -> bool:
    """Tell by the tables. A store that was cut short or damaged counts as one."""
    try:
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                return not path.stat().st_size
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as opened:
            tables = {str(name) for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return True
    return not tables or {"parts", "exs", "snaps"} <= tables


def _damage(part: Path) -> str | None:
    """Return what is wrong with a file of the store; None also when that cannot be told now."""
    try:
        with closing(sqlite3.connect(part, timeout=5)) as store:
            store.execute("SELECT count(*) FROM fronts").fetchone()
            found = str(store.execute("PRAGMA quick_check(1)").fetchone()[0])
            return None if found == "ok" else found
    except sqlite3.Error as error:
        return str(error) if any(words in str(error) for words in _DAMAGE) else None


def _make(folder: Path) -> None:
    new = folder / ".new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        room = new / "room"
        room.write_bytes(bytes(_ROOM))  # Bytewax panics where there is none
        room.unlink()
        init_db_dir(new, _PARTITIONS)  # type: ignore[no-untyped-call]
        (new / _VERSION_FILE).write_text(state_version())
        os.replace(new / _VERSION_FILE, folder / _VERSION_FILE)
        for part in new.glob(_PARTS):
            os.replace(part, folder / part.name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put_aside(folder: Path, name: str, why: str) -> None:
    """Move a store into a folder of its own; what was put aside before stays."""
    names = (f"{name}{ending}" for ending in chain([""], (f"-{n}" for n in count(2))))
    aside = next(folder / one for one in names if not (folder / one).exists())
    aside.mkdir()
    for part in folder.glob(f"{_PARTS}*"):
        part.rename(aside / part.name)
    log.warning("%s: %s; put aside in %s, the trends start afresh", folder, why, aside.name)


def main() -> None:
    log_as("trends", logging.WARNING)
    folder = Path(sys.argv[1])
    try:
        arguments = prepare_recovery(folder)
    except OutputRefused as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{folder}: cannot make the trends flow's recovery store: {error}")
    sys.stdout.write(shlex.join(arguments) + "\n")


if __name__ == "__main__":
    main()
