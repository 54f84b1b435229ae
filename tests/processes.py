"""What tests of real processes share: waiting, looking whether one is there, process 1 of a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return once the condition holds."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return stat_of(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return False


def as_process_one(command: Sequence[str]) -> list[str]:
    """Return a command that runs this one as process 1 of a PID namespace; skip where that is not permitted."""
    wrapped = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare (util-linux) here")
    tried = subprocess.run([*wrapped, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a PID namespace is not permitted here: {tried.stderr.strip()}")
    return [*wrapped, *command]


def stat_of(pid: int) -> tuple[str, int]:
    """Return a process's state and its parent's id. Raises OSError when it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def children_of(parent: int) -> Iterator[int]:
    """Yield the processes whose parent it is."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if stat_of(int(name))[1] == parent:
                    yield int(name)
            except (FileNotFoundError, ProcessLookupError):
                continue


def descendants_of(parent: int) -> list[int]:
    """Return its children, their children, and so on."""
    found = list(children_of(parent))
    return [*found, *(pid for child in found for pid in descendants_of(child))]
