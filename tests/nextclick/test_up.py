"""`nextclick up` as a service: process 1 of a container, killed, refused, on a full disk."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from nextclick.stack.client import Client
from nextclick.stack.shop_models import ARTIFACTS
from tests.certificates import Certificates
from tests.nextclick.test_stack_faults import ITEMS, takes, view
from tests.processes import ROOT, alive, as_process_one, children_of, descendants_of, wait_for

pytestmark = pytest.mark.slow

NEXTCLICK = [sys.executable, "-c", "from nextclick.cli import main; main()"]
UP = [*NEXTCLICK, "up", "--port", "0"]
PARTS = 6  # Redis, four flows, a gateway


@contextmanager
def up(
    command: Sequence[str], folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the stack in a folder; yields its process and its address once it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(settings or {})}
    with (folder / "said").open("w") as said:
        running = subprocess.Popen(
            [*command, "--folder", str(folder / "stack")],
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            text=True,
        )
    assert running.stdout is not None
    try:
        found = re.search(r"https?://[\d.]+:\d+", running.stdout.readline())
        assert found is not None, (folder / "said").read_text()
        yield running, found[0]
    finally:
        for pid in [*descendants_of(running.pid), running.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.wait()
        running.stdout.close()


def test_no_process_outlives_a_killed_stack(tmp_path: Path) -> None:
    with up(UP, tmp_path) as (running, _):
        started = list(descendants_of(running.pid))
        assert len(started) == PARTS
        running.kill()
        wait_for(lambda: not any(alive(pid) for pid in started))


def test_as_process_one_it_serves_reaps_orphans_and_ends_in_order(tmp_path: Path) -> None:
    with up(as_process_one(UP), tmp_path) as (unshared, url):
        [init] = children_of(unshared.pid)
        [supervisor] = children_of(init)
        assert len(descendants_of(supervisor)) == PARTS
        with Client(url) as client:
            assert client.put_items(ITEMS)["visible"] is True
            assert takes(client, [view("s")])
        enter = ["nsenter", "--target", str(init), "--pid", "sh", "-c", "for n in 1 2 3; do (sleep 0.2 &) ; done"]
        subprocess.run(enter, check=True)
        wait_for(lambda: len(list(children_of(init))) == 4)
        wait_for(lambda: list(children_of(init)) == [supervisor])
        trends = next(pid for pid in descendants_of(supervisor) if b"flows.run_trends" in command_of(pid))
        os.kill(trends, signal.SIGKILL)
        wait_for(lambda: whole(supervisor))
        os.kill(init, signal.SIGTERM)
        assert unshared.wait(60) == 0
    log = (tmp_path / "stack" / "redis" / "redis.log").read_text()
    assert "bye bye" in log  # it was stopped, not killed


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def whole(supervisor: int) -> bool:
    """Tell whether every part runs, and nothing else is left."""
    return [alive(pid) for pid in descendants_of(supervisor)] == [True] * PARTS


def test_artifacts_that_a_part_refuses_end_the_start_in_one_line(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS, artifacts)
    (artifacts / "reranker" / "manifest.json").write_text("{}")
    command = [*UP, "--folder", str(tmp_path / "stack"), "--artifacts", str(artifacts)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "2000"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    [error] = [line for line in ended.stderr.splitlines() if line.startswith("error")]
    assert error.startswith("error gateway-0: ")
    assert str(artifacts / "reranker") in error
    assert "died" not in ended.stderr  # it was tried once


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MB; skips where mounting is refused."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "nextclick-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is refused here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write until there is no room; returns the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096) == 4096:
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def test_a_full_disk_stops_nothing_and_everything_recovers_by_itself(small_disk: Path, tmp_path: Path) -> None:
    with up(UP, small_disk) as (running, url), Client(url) as client:
        assert client.put_items(ITEMS)["visible"] is True
        ballast = fill(small_disk)
        said = small_disk / "said"
        until = time.monotonic() + 35
        while time.monotonic() < until:  # trends takes its snapshot every twenty seconds, and dies of it
            takes(client, [view("full")])
            assert len(client.recommend("homepage", "anybody")["recommendations"]) > 0
            assert status(url, "/readyz") == 200
            assert running.poll() is None, said.read_text()
            time.sleep(0.1)
        ballast.unlink()
        began = time.monotonic()
        wait_for(lambda: takes(client, [view("room")]))
        assert time.monotonic() - began < 15
        wait_for(lambda: client.recommend("homepage", "room")["session"]["events"] >= 1)
        wait_for(lambda: whole(running.pid))
        time.sleep(12)  # longer than between two snapshots: it can write them again
        assert whole(running.pid)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def status(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        orjson.loads(answer.read())
        return answer.status
    finally:
        connection.close()


def own_address() -> str | None:
    """Return an address of this machine that is no loopback one, if it has any. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, suppress(OSError):
        asked.connect(("192.0.2.1", 9))
        address: str = asked.getsockname()[0]
        return None if address.startswith("127.") else address
    return None


@pytest.mark.parametrize("host", ["0.0.0.0", own_address()])
def test_with_tls_it_is_ready_on_any_address_of_the_machine(
    tmp_path: Path, certificates: Certificates, host: str | None
) -> None:
    if host is None:
        pytest.skip("this machine has no address but the loopback one")
    settings = {
        "NEXTCLICK_STACK__HOST": host,
        "NEXTCLICK_GATEWAY__KEYS": "open-to-anyone",
        "NEXTCLICK_GATEWAY__TLS_CERTIFICATE": str(certificates.other_host.certificate),
        "NEXTCLICK_GATEWAY__TLS_KEY": str(certificates.other_host.key),
    }
    with up(UP, tmp_path, settings) as (_, url):
        assert url.startswith("https://127.0.0.1:" if host == "0.0.0.0" else f"https://{host}:")
