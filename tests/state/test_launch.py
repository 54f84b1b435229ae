"""Processes that end with the one that started them, and only with it; their logs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from state.launch import LogFile, launch
from tests.processes import ROOT, SLEEPS, alive, as_process_one, wait_for


def test_a_process_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    asking = threading.Thread(target=lambda: started.append(launch(SLEEPS, LogFile(tmp_path / "one.log"))))
    asking.start()
    asking.join()
    try:
        time.sleep(0.5)  # the kernel's signal would be there at once
        assert started[0].poll() is None
    finally:
        started[0].kill()
        started[0].wait()


def test_a_process_ends_when_its_parent_was_killed(tmp_path: Path) -> None:
    code = f"""
import threading, time
from pathlib import Path
from state.launch import LogFile, launch
from tests.processes import ROOT, SLEEPS, alive, as_process_one, wait_for
def ask(): print(launch({SLEEPS!r}, LogFile(Path({str(tmp_path)!r}) / "one.log")).pid, flush=True)
threading.Thread(target=ask).start()
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(pid))


def test_process_one_can_start_processes(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from state.launch import LogFile, launch
from tests.processes import ROOT, SLEEPS, alive, as_process_one, wait_for
child = launch([sys.executable, "-c", "print('here')"], LogFile(Path({str(tmp_path)!r}) / "one.log"))
print(os.getpid(), child.wait())
"""
    ended = subprocess.run(
        as_process_one([sys.executable, "-c", code]), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("1 0\n", "")
    assert (tmp_path / "one.log").read_text() == "here\n"


def test_what_a_start_raises_is_raised_where_it_was_asked_for_and_the_next_one_works(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "one.log")
    with pytest.raises(FileNotFoundError):
        launch(["/no/such/program"], log)
    assert launch(["true"], log).wait() == 0


def test_a_process_starts_although_its_log_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = LogFile(tmp_path / "file" / "one.log")  # below what is no folder
    assert launch([sys.executable, "-c", "print('said to nobody')"], log).wait() == 0
    assert log.tail() == "(no log)"


def test_both_outputs_are_appended_to_the_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "one.log")
    for word in ("first", "second"):
        code = f"import sys; print({word!r}, flush=True); print('error', file=sys.stderr)"
        assert launch([sys.executable, "-c", code], log, env=os.environ).wait() == 0
    assert log.tail() == "first\nerror\nsecond\nerror\n"
