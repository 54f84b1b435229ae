"""The supervisor once everything was ready: no death, no error of the machine, no error of its own ends the others."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import StartupError
from nextclick.stack.processes import Child, Supervisor
from tests.nextclick.test_processes import child
from tests.processes import ROOT, SLEEPS, alive, wait_for


def ready(*children: Child) -> Supervisor:
    """Return a started supervisor whose stack was ready."""
    supervisor = Supervisor(children)
    supervisor.start()
    supervisor.mark_ready()
    return supervisor


def test_a_part_that_is_killed_five_times_in_two_seconds_comes_back_and_the_others_stay(tmp_path: Path) -> None:
    dies, stays = child(tmp_path, SLEEPS, "dies"), child(tmp_path, SLEEPS, "stays")
    supervisor = ready(dies, stays)
    try:
        assert stays.process is not None
        pid, until = stays.process.pid, time.monotonic() + 60
        for kill in range(5):
            wait_for(lambda: dies.running)
            assert dies.process is not None
            dies.process.kill()
            wait_for(lambda kill=kill: dies.restarts == kill + 1)  # type: ignore[misc]
        wait_for(lambda: dies.running)
        assert time.monotonic() < until
        supervisor.expect_healthy()
        assert (stays.restarts, stays.process.pid, stays.running) == (0, pid, True)
    finally:
        supervisor.stop()


@pytest.mark.slow
def test_a_part_that_keeps_dying_is_tried_on_with_pauses_and_told_in_one_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("")
    code = f"import os, sys, time\nif os.path.exists({str(broken)!r}): sys.exit('no such table')\ntime.sleep(600)"
    dies, stays = child(tmp_path, [sys.executable, "-c", code], "dies"), child(tmp_path, SLEEPS, "stays")
    with caplog.at_level(logging.WARNING, "nextclick.stack.processes"):
        supervisor = ready(dies, stays)
        try:
            wait_for(lambda: dies.fate.quick_deaths == 4)
            assert supervisor.ailing() == [
                f"dies: died (exit code 1): no such table, 3 restarts (its log: {dies.log_file})"
            ]
            broken.unlink()
            wait_for(lambda: dies.fate.down_since is None)
            assert (supervisor.ailing(), dies.running, stays.restarts) == ([], True, 0)
        finally:
            supervisor.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"dies died (exit code 1): no such table; next start in 0.2 s (log: {dies.log_file})"
    assert lines[1:4] == [f"dies is still away; next start in {pause:.1f} s" for pause in (0.5, 1.0, 2.0)]
    assert re.fullmatch(r"dies runs again, \d\.\d s after it went, at start 4", lines[4]), lines[4]
    assert len(lines) == 5


def test_settings_that_are_refused_end_a_start_with_their_one_line(tmp_path: Path) -> None:
    refuses = [sys.executable, "-c", "import sys; print('PORT: expected a number', file=sys.stderr); sys.exit(78)"]
    supervisor = Supervisor([child(tmp_path, refuses)])
    supervisor.start()
    try:
        wait_for(lambda: supervisor.failure is not None)
        with pytest.raises(StartupError, match=r"^one: PORT: expected a number$"):
            supervisor.expect_healthy()
    finally:
        supervisor.stop()


def test_settings_that_are_refused_later_are_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refuses = [sys.executable, "-c", "import sys; print('m1: cut short', file=sys.stderr); sys.exit(78)"]
    one = child(tmp_path, refuses)
    with caplog.at_level(logging.WARNING, "nextclick.stack.processes"):
        supervisor = ready(one)
        try:
            wait_for(lambda: one.restarts == 3)
            supervisor.expect_healthy()
        finally:
            supervisor.stop()
    said = caplog.records[0].getMessage()
    assert said.startswith("one refuses its settings or artifacts: m1: cut short; next start in 0.2 s")


DESCRIPTORS = f"""
import os, resource, time
from pathlib import Path
from nextclick.stack.processes import Child, Supervisor

def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "gave up waiting"
        time.sleep(0.01)

def child(name): return Child(name, {SLEEPS!r}, dict(os.environ), Path(name + ".log"))
supervisor = Supervisor([child("killed"), child("stays")])
supervisor.start()
getattr(supervisor, "mark_ready", lambda: None)()
killed, stays = supervisor.children
lowest, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
killed.process.kill()
time.sleep(3.0)
print(killed.running, stays.running, flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, most))
wait_for(lambda: killed.running)
time.sleep(1.0)  # what a thread that ended started would be gone by now
print(killed.running, stays.running, supervisor.failure, flush=True)
supervisor.stop()
"""


@pytest.mark.slow
def test_three_seconds_without_descriptors_keep_one_part_away_for_no_longer(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DESCRIPTORS]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout == "False True\nTrue True None\n", ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Too many open files") == 1
    assert ended.stderr.count("killed is still away") <= 3


class Odd(Child):
    """A child whose log cannot be looked at, for a reason that nobody thought of."""

    def bound_log(self) -> None:
        raise RuntimeError("nobody thought of this")


def test_an_unexpected_error_ends_neither_the_watching_nor_what_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = Odd("odd", SLEEPS, dict(os.environ), tmp_path / "odd.log")
    other = child(tmp_path, SLEEPS, "other")
    supervisor = ready(odd, other)
    try:
        for one in (odd, other):
            assert one.process is not None
            one.process.kill()
            wait_for(lambda one=one: one.restarts == 1 and one.running)  # type: ignore[misc]
        pids = [one.process.pid for one in (odd, other) if one.process is not None]
        time.sleep(2.5)  # the watching has raised twice by now
        assert [alive(pid) for pid in pids] == [True, True]
        assert odd.process is not None
        odd.process.kill()
        wait_for(lambda: odd.restarts == 2 and odd.running)
    finally:
        supervisor.stop()
    unexpected = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in unexpected] == [
        "watching odd: an error that nobody expected; the watching goes on"
    ]


def test_no_child_outlives_a_killed_supervisor_restarted_ones_included(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from nextclick.stack.processes import Child, Supervisor
children = [Child(str(n), {SLEEPS!r}, dict(os.environ), Path({str(tmp_path)!r}) / f"{{n}}.log") for n in range(3)]
Supervisor(children).start()
children[1].process.kill()
while children[1].restarts == 0 or not children[1].running: time.sleep(0.01)
print(*(child.process.pid for child in children), flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert [alive(pid) for pid in pids] == [True] * 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.slow
def test_a_process_whose_peer_was_killed_is_not_blamed_for_ending_with_it(tmp_path: Path) -> None:
    """Processes of one Bytewax cluster end with each other."""
    place = tmp_path / "pid"
    writes = f"import os, time; open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    ends = (
        f"import os, sys, time\ntime.sleep(0.3)\npid = open({str(place)!r}).read()\n"
        "alive = lambda: os.path.exists(f'/proc/{pid}') and open(f'/proc/{pid}/stat').read().split()[2] != 'Z'\n"
        "while alive(): time.sleep(0.001)\nsys.exit('panic')"
    )
    killed = replace(child(tmp_path, [sys.executable, "-c", writes], "killed"), cluster="flow")
    peer = replace(child(tmp_path, [sys.executable, "-c", ends], "peer"), cluster="flow")
    supervisor = ready(killed, peer)
    try:
        for kill in range(5):
            wait_for(lambda: killed.running and peer.running)
            time.sleep(0.6)
            assert killed.process is not None
            killed.process.kill()
            wait_for(lambda kill=kill: killed.restarts > kill and peer.restarts > kill)  # type: ignore[misc]
        assert peer.fate.quick_deaths >= 5
        assert (killed.fate.pause_s, peer.fate.pause_s) == (1.0, 1.0)
    finally:
        supervisor.stop()
