"""Syncing Redis's files from outside: a sync that fails is tried again, told to log and writers, and made good."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogWriter
from state import disk_sync
from state.disk_sync import DiskSync
from state.embedded import EmbeddedRedis
from state.tables import TableWriter


class Disk:
    """Fails to sync files of one folder so many times. Other servers of this process sync theirs meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failing = 0
        self.synced = 0

    def fdatasync(self, number: int) -> None:
        if not Path(os.readlink(f"/proc/self/fd/{number}")).is_relative_to(self._folder):
            os.fsync(number)
            return
        if self.failing:
            self.failing -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(number)
        self.synced += 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Disk:
    disk = Disk(tmp_path.resolve())
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    return disk


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path, fsync="always") as started:  # which leaves the syncing to us
        yield started


@pytest.fixture
def sync(server: EmbeddedRedis) -> Iterator[DiskSync]:
    stop = threading.Event()
    sync = DiskSync(server.folder, server.url, stop, every_s=0.02)
    thread = threading.Thread(target=sync.run)
    thread.start()
    yield sync
    stop.set()
    thread.join()


def wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_failed_sync_does_not_end_the_syncing(disk: Disk, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path):
        wait_until(lambda: disk.synced > 0)
        disk.failing, disk.synced = 1, 0
        wait_until(lambda: disk.failing == 0)
        wait_until(lambda: disk.synced > 0)


def test_a_failing_sync_is_said_once_when_it_begins_and_once_when_it_ends(
    disk: Disk, sync: DiskSync, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        disk.failing = 5
        wait_until(lambda: "anew" in caplog.text)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "Redis's files cannot be synced to the disk",
        "Redis's files cannot be synced to the disk",
        "Redis has written its append-only file anew",
    ]
    assert "Input/output error" in caplog.messages[0]
    assert "(failures: 5; the first: [Errno 5] Input/output error" in caplog.messages[1]
    assert sync.failures == 5


def listed(folder: Path) -> list[os.DirEntry[str]]:
    return list(os.scandir(folder)) if folder.exists() else []


def test_what_a_failed_sync_may_have_lost_is_written_anew(disk: Disk, server: EmbeddedRedis, sync: DiskSync) -> None:
    def written() -> set[int]:
        entries = [entry for folder in {server.folder, server.folder / "appendonlydir"} for entry in listed(folder)]
        return {entry.inode() for entry in entries if entry.name.endswith(".aof")}  # one may be gone: it is not opened

    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
    before = written()
    disk.failing = 1
    wait_until(lambda: not before & written())
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"


@pytest.mark.usefixtures("sync")
def test_writers_promise_nothing_while_files_do_not_reach_the_disk_for_long(
    disk: Disk, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_sync, "PATIENCE_S", 0.05)
    settings = RedisSettings(url=server.url, timeout_ms=60_000)
    writer, table = RedisLogWriter(LogSettings(partitions=1), settings), TableWriter(settings, "trends")
    writer.append(Topic.CLICKS, [Record("anna", b"1")])
    disk.failing = 1 << 30

    def refusal() -> str:
        try:
            writer.append(Topic.CLICKS, [Record("anna", b"2")])
            return ""
        except LogUnavailable as error:
            return str(error)

    wait_until(lambda: refusal() != "")
    assert "cannot promise to keep it: its files have not reached the disk for" in refusal()
    with pytest.raises(StateUnavailable, match="files have not reached the disk for"):
        table.commit({b"key": b"row"})
    disk.failing = 0
    wait_until(lambda: refusal() == "")
    table.commit({b"key": b"row"})
    writer.close()
    table.close()


def test_a_short_failure_is_not_told_to_writers(disk: Disk, server: EmbeddedRedis, sync: DiskSync) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1), RedisSettings(url=server.url, timeout_ms=60_000))
    disk.failing = 3
    while sync.failures < 3:
        writer.append(Topic.CLICKS, [Record("anna", b"x")])
        time.sleep(0.001)
    writer.append(Topic.CLICKS, [Record("anna", b"x")])
    writer.close()
