"""Syncs a Redis server's append-only files to the disk every second, from outside the server, and tells when it fails.

A sync that failed is tried again every second. While that lasts, what is answered would not outlive the machine, so
after `PATIENCE_S` it is said in Redis itself (`keys.UNSYNCED`), and writers promise nothing. A kernel tells of what it
could not write once, and may have dropped it: so when syncing works again, Redis writes its file anew.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.keys import UNSYNCED
from contracts.outage import Outage

log = logging.getLogger("nextclick.redis")

EVERY_S = 1.0
PATIENCE_S = 3.0
"""Failing for longer than this is told to writers."""
REWRITE_AGAIN_S = 10.0
_TOLD_MS = 5000  # what was told passes by itself if nobody is left to take it back


class DiskSync:
    """Syncs until `stop` is set; `run` is for a thread of its own and never raises for what a disk or Redis does."""

    def __init__(self, folder: Path, url: str, stop: threading.Event, *, every_s: float = EVERY_S) -> None:
        self._folder, self._url, self._stop, self._every_s = folder, url, stop, every_s
        self._outage = Outage(log, "Redis's files cannot be synced to the disk: ")
        self._told = False
        self._rewrite: Rewrite | None = None
        self.failures = 0
        """Syncs that failed, ever."""

    def run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                sync_files(self._folder)
            except OSError as error:
                self._failed(error)
            else:
                self._worked()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self._outage.failed(f"{error}. What is answered now would be lost with the machine; trying again every second")
        if self._outage.lasts_s >= PATIENCE_S:
            why = f"its files have not reached the disk for {self._outage.lasts_s:.0f} s ({error}): look at the disk"
            with _connected(self._url) as client:
                client.set(UNSYNCED, why, px=_TOLD_MS)
            self._told = True

    def _worked(self) -> None:
        if self._outage.failures:
            self._outage.over()
            self._rewrite = Rewrite()
        if self._told:
            with _connected(self._url) as client:
                client.delete(UNSYNCED)
                self._told = False
        if self._rewrite is not None:
            with _connected(self._url) as client:
                if self._rewrite.is_done(client):
                    self._rewrite = None


class Rewrite:
    """Has Redis write its append-only file anew, again and again until that worked."""

    def __init__(self) -> None:
        self._asked_at: float | None = None

    def is_done(self, client: Any) -> bool:
        """Ask for it, or look how it went. Call now and then."""
        found = client.info("persistence")
        if not found["aof_enabled"]:
            return True
        if found["aof_rewrite_in_progress"] or found.get("aof_rewrite_scheduled"):
            return False
        if self._asked_at is not None and found["aof_last_bgrewrite_status"] == "ok":
            log.info("Redis has written its append-only file anew: all that it holds is on the disk")
            return True
        if self._asked_at is None or time.monotonic() - self._asked_at >= REWRITE_AGAIN_S:
            client.bgrewriteaof()
            self._asked_at = time.monotonic()
        return False


def sync_files(folder: Path) -> None:
    """Sync the append-only files to the disk: one in Redis 6, a folder of them from Redis 7 on. Raises OSError."""
    for path in [*folder.glob("*.aof"), *folder.glob("appendonlydir/*.aof")]:
        with suppress(FileNotFoundError):  # rewritten meanwhile: the next round finds the new one
            number = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(number)
            finally:
                os.close(number)


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """A client for a few questions. A Redis that does not answer, or refuses, is asked again in the next round."""
    with (
        suppress(redis.RedisError, OSError),
        redis.Redis.from_url(url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client,
    ):
        yield client
