"""A real Redis that speaks TLS: Debian's, whose server is the program of its package `redis-tools` under another name.

The wheel that the embedded Redis may come from is built without TLS. Without a server that speaks it these tests skip.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from contracts.settings import RedisSettings
from state.ports import free_port
from tests.certificates import Certificates, Pair

PASSWORD = "a-secret-word"
PROGRAMS = ("redis-server", "redis-check-rdb")


class TlsRedis:
    """One server in a folder; its certificate may be exchanged between two starts."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._folder, self._made = folder, certificates
        self.port, self.plain_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"rediss://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def settings(self, prefix: str, *, timeout_ms: int = 60_000, **more: object) -> RedisSettings:
        """Return settings that trust the run's CA, unless `more` says otherwise."""
        given = {"url": self.url, "tls_ca": str(self._made.ca), **more}
        return RedisSettings.model_validate({"prefix": prefix, "timeout_ms": timeout_ms, **given})

    def as_client(self, prefix: str) -> RedisSettings:
        """Return settings with a certificate of ours beside."""
        client = self._made.client
        return self.settings(prefix, tls_certificate=str(client.certificate), tls_key=str(client.key))

    def start(self, shown: Pair | None = None, *, asks_clients: bool = False) -> None:
        pair = shown or self._made.server
        self._asks_clients = asks_clients
        self._process = subprocess.Popen(
            [
                *(str(program_in(self._folder)), "--bind", "127.0.0.1", "--requirepass", PASSWORD),
                *("--port", str(self.plain_port), "--tls-port", str(self.port), "--dir", str(self._folder)),
                *("--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key)),
                *("--tls-ca-cert-file", str(self._made.ca), "--tls-auth-clients", "yes" if asks_clients else "no"),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            ],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        try:
            while not self._answers():
                assert self._process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def again(self) -> None:
        """Start it once more after it was killed, as it was."""
        self.start(asks_clients=self._asks_clients)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis(port=self.plain_port, password=PASSWORD) as client:
            return bool(client.ping())
        return False


def program_in(folder: Path) -> Path:
    """Return a redis-server: what a program of Redis does, it goes by its name. Skips where there is none with TLS."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is None:
            continue
        server = folder / "redis-server"
        if not server.exists():
            server.symlink_to(Path(found).resolve())
        tried = subprocess.run(
            [str(server), "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False
        )  # ends at once, as it has no certificate
        said = tried.stdout + tried.stderr
        if not any(word in said for word in ("tls-port", "Failed finding TLS support")):
            return server
        server.unlink()
    pytest.skip("no Redis with TLS: install Debian's redis-tools")


@contextmanager
def running(server: TlsRedis, shown: Pair | None = None, *, asks_clients: bool = False) -> Iterator[TlsRedis]:
    server.start(shown, asks_clients=asks_clients)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tls_redis(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TlsRedis]:
    """A Redis that takes whoever knows its password."""
    with running(TlsRedis(tmp_path_factory.mktemp("tls"), certificates)) as server:
        yield server


@pytest.fixture(scope="module")
def strict_redis(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TlsRedis]:
    """A Redis that wants certificates of its clients too."""
    with running(TlsRedis(tmp_path_factory.mktemp("strict"), certificates), asks_clients=True) as server:
        yield server
