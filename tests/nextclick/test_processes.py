"""The supervisor: what dies is started again, what cannot live is reported, and everything stops with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import StartupError
from nextclick.stack.processes import Child, Supervisor
from nextclick.stack.stack import expect_port_free, lock_folder
from tests.processes import SLEEPS, alive, wait_for


def child(tmp_path: Path, command: list[str], name: str = "one") -> Child:
    return Child(name, command, dict(os.environ), tmp_path / "logs" / f"{name}.log")


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEPS)
    supervisor = Supervisor([one])
    supervisor.start()
    try:
        assert one.process is not None
        first = one.process.pid
        one.process.send_signal(signal.SIGKILL)
        wait_for(lambda: one.restarts == 1 and one.running)
        assert one.process.pid != first
        supervisor.expect_healthy()
    finally:
        supervisor.stop()
    assert not one.running


def test_a_child_runs_with_the_niceness_that_it_was_given(tmp_path: Path) -> None:
    ordinary = os.getpriority(os.PRIO_PROCESS, 0)
    children = [child(tmp_path, SLEEPS, "one"), replace(child(tmp_path, SLEEPS, "two"), niceness=ordinary + 2)]
    supervisor = Supervisor(children)
    supervisor.start()
    try:
        pids = [one.process.pid for one in children if one.process is not None]
        assert [os.getpriority(os.PRIO_PROCESS, pid) - ordinary for pid in pids] == [0, 2]
    finally:
        supervisor.stop()


def test_a_child_that_keeps_dying_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor([child(tmp_path, [sys.executable, "-c", "raise SystemExit('no such table')"])])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.failure is not None)
        with pytest.raises(StartupError, match=r"one keeps dying \(exit code 1\). Its log ends:\n(no such table\n)+"):
            supervisor.expect_healthy()
    finally:
        supervisor.stop()


CHATTERS = "import itertools, time\nfor n in itertools.count(): print(n, 'x' * 200, flush=True); time.sleep(0.0005)"


def test_a_child_writes_on_at_the_start_of_a_log_that_moved_away(tmp_path: Path) -> None:
    one = child(tmp_path, [sys.executable, "-c", CHATTERS])
    one.log_bytes = 50_000
    one.start()
    try:
        wait_for(lambda: one.log_file.stat().st_size > 50_000)
        one.bound_log()
        wait_for(lambda: one.log_file.stat().st_size > 1000)
    finally:
        one.stop()
    assert one.older_log.read_bytes().startswith(b"0 x")
    spoken = one.log_file.read_bytes()
    assert not spoken.startswith((b"\0", b"0 x"))  # neither behind a hole nor once more


def test_a_supervised_log_moves_away_past_its_bound(tmp_path: Path) -> None:
    one = child(tmp_path, [sys.executable, "-c", CHATTERS])
    one.log_bytes = 50_000
    supervisor = Supervisor([one])
    supervisor.start()
    try:
        wait_for(one.older_log.exists)
    finally:
        supervisor.stop()
    assert one.older_log.stat().st_size > 50_000


def test_the_end_of_a_log_goes_back_into_the_older_one(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEPS)
    assert one.log_tail() == "(no log)"
    one.log_file.parent.mkdir()
    one.older_log.write_text("first\n")
    one.log_file.write_text("second\n")
    assert (one.log_tail(), one.log_tail(3)) == ("first\nsecond\n", "nd\n")


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from nextclick.stack.processes import Child, Supervisor
one = Child("one", {SLEEPS!r}, dict(os.environ), Path({str(tmp_path)!r}) / "one.log")
Supervisor([one]).start()
print(one.process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(pid))


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"127.0.0.1:{port} cannot be listened on .*choose another with --port"):
            expect_port_free("127.0.0.1", port)


def test_a_folder_belongs_to_one_stack_at_a_time(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(StartupError, match=r"another stack runs in .*--folder"):
        lock_folder(tmp_path)
    lock_folder(tmp_path).close()
