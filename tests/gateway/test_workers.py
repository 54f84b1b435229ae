"""Several gateway processes on one port: none ends the others, whatever happens to it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import pytest

from gateway.workers import Served, keep_running, tell_served

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
Process = subprocess.Popen[bytes]


def some_served() -> bool:
    return True


def program(code: str) -> Process:
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_worker_that_keeps_dying_waits_and_the_others_stay() -> None:
    started: list[Process] = []
    until = time.monotonic() + 4.0

    def start() -> Process:
        started.append(subprocess.Popen(SLEEPS) if not started else program("raise SystemExit(1)"))
        return started[-1]

    assert keep_running(2, start, lambda: time.monotonic() > until, some_served) == 1
    assert 3 <= len(started) - 1 <= 5  # after 0.2, 0.5, 1 and 2 s, not each tenth of a second
    assert started[0].returncode == -15  # it lived until it was told to stop


def test_a_start_that_the_machine_refuses_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def start() -> Process:
        tries.append(1)
        if len(tries) in (2, 3, 4):
            raise OSError(24, "Too many open files")
        return subprocess.Popen(SLEEPS)

    until = time.monotonic() + 60
    with caplog.at_level(logging.ERROR, "nextclick.gateway"):
        assert keep_running(2, start, lambda: len(tries) >= 5 or time.monotonic() > until, some_served) == 0
    assert len(tries) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "worker 1 cannot be started ([Errno 24] Too many open files): trying again"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("takes_s", [0, 12])
def test_a_worker_that_refuses_its_settings_ends_all_before_any_has_served_however_slow_it_is(takes_s: int) -> None:
    started: list[Process] = []
    refuses = f"import time; time.sleep({takes_s}); raise SystemExit(78)"

    def start() -> Process:
        started.append(program(refuses) if len(started) == 1 else subprocess.Popen(SLEEPS))
        return started[-1]

    assert keep_running(2, start, lambda: len(started) > 2, lambda: False) == 78
    assert [process.returncode for process in started] == [-15, 78]


def test_a_worker_that_refuses_a_changed_file_later_leaves_those_that_serve() -> None:
    started: list[Process] = []

    def start() -> Process:
        started.append(program("raise SystemExit(78)") if started else subprocess.Popen(SLEEPS))
        return started[-1]

    keep_running(2, start, lambda: len(started) > 3, some_served)  # it was tried again, and again
    assert [process.returncode for process in started[:3]] == [-15, 78, 78]


def test_workers_tell_their_parent_that_they_listen_whether_or_not_it_reads() -> None:
    served = Served()
    assert not served()
    for _ in range(70_000):  # more than a pipe holds
        tell_served(os.dup(served.pipe))
    assert [served(), served()] == [True, True]
    served.close()
