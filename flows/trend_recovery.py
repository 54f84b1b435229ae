"""The folder that the trends flow recovers from: made once, kept with the flow.

python -m flows.trend_recovery FOLDER        makes it if it is not there, and prints the arguments to run with
"""

from __future__ import annotations

import sys
from pathlib import Path

from bytewax.recovery import init_db_dir

SNAPSHOT_S = 10
"""How much may have to be counted again after a crash."""

_PARTITIONS = 1  # fixed for the folder's life; one file serves any number of processes that share the folder


def prepare_recovery(folder: Path) -> list[str]:
    """Make the recovery store if it is not there; returns `bytewax.run`'s arguments that use it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("part-*.sqlite3")):
        init_db_dir(folder, _PARTITIONS)  # type: ignore[no-untyped-call]
    return ["-r", str(folder), "-s", str(SNAPSHOT_S), "-b", "0"]


if __name__ == "__main__":
    sys.stdout.write(" ".join(prepare_recovery(Path(sys.argv[1]))) + "\n")
