"""Several gateway processes on one port: none ends the others, whatever happens to it."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import cast

import pytest

from gateway.workers import Worker, keep_running

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
Process = subprocess.Popen[bytes]


def program(code: str) -> Process:
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_worker_that_keeps_dying_waits_and_the_others_stay() -> None:
    started: list[Process] = []
    until = time.monotonic() + 4.0

    def start() -> Process:
        started.append(subprocess.Popen(SLEEPS) if not started else program("raise SystemExit(1)"))
        return started[-1]

    assert keep_running(2, start, lambda: time.monotonic() > until) == 1
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
        assert keep_running(2, start, lambda: len(tries) >= 5 or time.monotonic() > until) == 0
    assert len(tries) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "worker 1 cannot be started ([Errno 24] Too many open files): trying again"
    ]


def test_a_worker_that_refuses_its_settings_ends_all_before_any_has_served() -> None:
    started: list[Process] = []

    def start() -> Process:
        started.append(subprocess.Popen(SLEEPS) if not started else program("raise SystemExit(78)"))
        return started[-1]

    assert keep_running(2, start, lambda: False) == 78
    assert [process.returncode for process in started] == [-15, 78]


def test_a_worker_that_refuses_a_changed_file_later_leaves_those_that_serve() -> None:
    worker = Worker(0, cast(Callable[[], Process], lambda: program("raise SystemExit(78)")))
    now_s = time.monotonic()
    worker.look(now_s)
    assert worker.process is not None
    assert worker.process.wait() == 78
    assert (worker.refused, worker.lives_long(now_s + 20)) == (True, False)
    worker.look(now_s + 20)  # it had lived for long: at once
    assert (worker.fate.restarts, worker.fate.quick_deaths) == (1, 0)
    assert worker.process.wait() == 78
