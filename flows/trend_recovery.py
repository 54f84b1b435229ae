"""The folder that the trends flow recovers from: made once, kept with the flow. A store that another release wrote,
whose state this one cannot read, is put aside, and the flow counts what the log still holds.

python -m flows.trend_recovery FOLDER        makes it if it is not there, and prints the arguments to run with
"""

from __future__ import annotations

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

from contracts.errors import OutputRefused
from contracts.outputs import found_at
from flows.recovery_arguments import recovery_arguments
from flows.trend_steps import ItemTally
from retrieval.open_sessions import OpenSession
from retrieval.trends import TrendAccumulator, TrendRules

STATE_VERSION = 4
"""Raised when what the flow keeps of a session or an item changes its meaning; fields and classes are seen to."""
_KEPT = (OpenSession, ItemTally, TrendAccumulator, TrendRules)
_VERSION_FILE = "state-version"
_SQLITE = b"SQLite format 3\0"

_PARTITIONS = 1  # fixed for the folder's life; one file serves any number of processes that share the folder


def state_version(kept: Sequence[type] = _KEPT) -> str:
    """Return what a store's state is known by: STATE_VERSION, and a hash of the classes kept and their fields, because
    Bytewax pickles them by name.
    """
    names = [f"{one.__module__}.{one.__qualname__}:{[field.name for field in fields(one)]}" for one in kept]
    return f"{STATE_VERSION}-{xxh3_64_hexdigest(repr(names).encode())[:8]}"


def prepare_recovery(folder: Path) -> list[str]:
    """Make the recovery store if it is not there; returns `bytewax.run`'s arguments that use it. Raises OutputRefused
    for files in its place that are no store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / _VERSION_FILE
    stores = _stores(folder)
    if stores and not (version.exists() and version.read_text() == state_version()):
        _put_aside(folder, stores)
        stores = []
    if not stores:
        init_db_dir(folder, _PARTITIONS)  # type: ignore[no-untyped-call]
        version.write_text(state_version())
    return recovery_arguments(folder)


def _stores(folder: Path) -> list[Path]:
    """Return the store's files. Raises OutputRefused for one that is somebody else's."""
    found = sorted(folder.glob("part-*.sqlite3"))
    for path in found:
        if path.is_symlink() or not _is_store(path):
            raise OutputRefused(
                f"{path}: expected the recovery store of the trends flow, found {found_at(path)}: it was left as it "
                "is; name another folder, or move it away"
            )
    return found


def _is_store(path: Path) -> bool:
    """Tell by the tables. A store that was cut short or damaged is for Bytewax to judge, and stays where it is."""
    try:
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                return not path.stat().st_size
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as opened:
            tables = {str(name) for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return True
    return not tables or {"parts", "exs", "snaps"} <= tables


def _put_aside(folder: Path, stores: list[Path]) -> None:
    """Move a store into a folder of its own; what was put aside before stays."""
    names = (f"before-version-{STATE_VERSION}{ending}" for ending in chain([""], (f"-{n}" for n in count(2))))
    aside = next(folder / name for name in names if not (folder / name).exists())
    aside.mkdir()
    for store in stores:
        for part in folder.glob(f"{store.name}*"):
            part.rename(aside / part.name)
    sys.stderr.write(f"{folder}: another release wrote it; put aside in {aside.name}, the trends start afresh\n")


if __name__ == "__main__":
    try:
        sys.stdout.write(" ".join(prepare_recovery(Path(sys.argv[1]))) + "\n")
    except OutputRefused as error:
        sys.exit(str(error))
