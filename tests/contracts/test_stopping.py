"""What tells a process to stop may be set by a signal's handler, in whichever moment it comes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from contracts.stopping import Stopping

ROOT = Path(__file__).parents[2]
ROUNDS = """
import random, signal, threading
from contracts.stopping import stopping_on_signals
from signal import SIGALRM, ITIMER_REAL, setitimer, signal as on

for number in range(2000):
    stopping = stopping_on_signals() if MADE == "ours" else threading.Event()
    on(SIGALRM, lambda *_: stopping.set())
    setitimer(ITIMER_REAL, random.uniform(1e-6, 3e-4))
    while not stopping.wait(0.0):
        pass
print("all ended")
"""


@pytest.mark.parametrize(("made", "ends"), [("ours", True), ("an event", False)])
def test_a_wait_ends_in_whichever_moment_the_signal_comes(made: str, ends: bool) -> None:
    """The second shows that the signals of this test do come in the moment that an Event does not survive."""
    command = [sys.executable, "-c", f"MADE = {made!r}\n{ROUNDS}"]
    if ends:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == "all ended\n"
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4, check=False)


def test_all_who_wait_are_told() -> None:
    stopping, told = Stopping(), list[bool]()
    threads = [threading.Thread(target=lambda: told.append(stopping.wait(60))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert not stopping.is_set()
    stopping.set()
    for thread in threads:
        thread.join()
    assert told == [True] * 4
    assert stopping.is_set()
    assert stopping.wait(0)
    assert stopping.wait()


def test_a_wait_that_nobody_ends_is_as_long_as_was_asked() -> None:
    began = time.monotonic()
    assert not Stopping().wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_no_handler_of_a_signal_sets_what_has_a_lock() -> None:
    """Handlers of ours are set here alone: elsewhere they change a name or a list, or end the process, or ignore."""
    setting = re.compile(r"\bsignal\.signal\(")
    files = subprocess.run(["git", "ls-files", "*.py", ":!tests"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {path for path in files.stdout.split() if setting.search((ROOT / path).read_text())}
    assert found == {
        "contracts/stopping.py",
        "gateway/__main__.py",
        "nextclick/stack/kernels_ahead.py",
        "nextclick/stack/stack.py",
        "replay/engine/workers.py",
    }
