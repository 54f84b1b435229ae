"""The folder that the trends flow recovers from: made once, kept with the flow. A store that another release wrote,
whose state this one cannot read, is put aside, and the flow counts what the log still holds.

python -m flows.trend_recovery FOLDER        makes it if it is not there, and prints the arguments to run with
"""

from __future__ import annotations

import sys
from pathlib import Path

from bytewax.recovery import init_db_dir

SNAPSHOT_S = 10
"""How much may have to be counted again after a crash."""

STATE_VERSION = 3
"""Raised with every change of what the flow keeps of a session or an item."""
_VERSION_FILE = "state-version"

_PARTITIONS = 1  # fixed for the folder's life; one file serves any number of processes that share the folder


def prepare_recovery(folder: Path) -> list[str]:
    """Make the recovery store if it is not there; returns `bytewax.run`'s arguments that use it."""
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / _VERSION_FILE
    if any(folder.glob("part-*.sqlite3")) and not (version.exists() and version.read_text() == str(STATE_VERSION)):
        _put_aside(folder)
    if not any(folder.glob("part-*.sqlite3")):
        init_db_dir(folder, _PARTITIONS)  # type: ignore[no-untyped-call]
        version.write_text(str(STATE_VERSION))
    return ["-r", str(folder), "-s", str(SNAPSHOT_S), "-b", "0"]


def _put_aside(folder: Path) -> None:
    aside = folder / f"before-version-{STATE_VERSION}"
    aside.mkdir(exist_ok=True)
    for part in folder.glob("part-*.sqlite3*"):
        part.rename(aside / part.name)
    sys.stderr.write(f"{folder}: another release wrote it; put aside in {aside.name}, the trends start afresh\n")


if __name__ == "__main__":
    sys.stdout.write(" ".join(prepare_recovery(Path(sys.argv[1]))) + "\n")
