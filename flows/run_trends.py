"""The trends flow with its recovery store, in one process: what the embedded stack runs.

    python -m flows.run_trends FOLDER

The store is made the first time, and by a release that differs; see `flows.trend_recovery`.
"""

from __future__ import annotations

import logging
import runpy
import sys
from functools import partial
from pathlib import Path

from contracts.errors import OutputRefused, StartupError
from contracts.exits import or_exit
from contracts.logs import log_as
from flows.trend_recovery import prepare_recovery


def main() -> None:
    log_as("trends", logging.WARNING)
    arguments = or_exit(partial(_prepared, Path(sys.argv[1])))
    sys.argv[1:] = ["flows.trends:flow", *arguments]
    runpy.run_module("bytewax.run", run_name="__main__", alter_sys=True)


def _prepared(folder: Path) -> list[str]:
    try:
        return prepare_recovery(folder)
    except OutputRefused as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise StartupError(f"the trends flow's recovery store cannot be made in {folder}: {error}") from error


if __name__ == "__main__":
    main()
