"""`python -m nextclick.stack.kernels_ahead`: compile the kernels of a stack before its processes ask for them.

At the first start on a machine, a stack waits for little else. So this begins before the stack's own files are
imported: one process and its helper import numba once for all, and the processes of the stack load what they left.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from compiled.cache import cache_folder
from state.launch import LogFile, launch

KERNELS_OF: Final = (
    "retrieval.trend_kernels",
    "session_model.fold_arrays",
    "session_model.profiles",
    "rerank.pipeline",
    "state.change_arrays",
    "state.raw_answers",
)
"""Modules that bring, imported, every kernel of the gateway and the flows, and little else."""


@contextmanager
def kernels_ahead() -> Iterator[None]:
    """Compile kernels beside the block, where the cache holds none. Where it holds some, little or nothing is missing.

    What is not finished, or cannot be started, is no failure: each process compiles what it does not find.
    """
    folder = cache_folder()
    if folder is None or any(folder.glob("*.o")):
        yield
        return
    command = [sys.executable, "-m", "nextclick.stack.kernels_ahead"]
    try:
        process = launch(command, LogFile(Path(os.devnull)))
    except (OSError, subprocess.SubprocessError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    from compiled.kernels import prepare_ahead

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which ends the helper as well
    gc.disable()  # numba makes objects by the million and this process ends soon: an eighth of its time
    prepare_ahead(KERNELS_OF)


if __name__ == "__main__":
    main()
