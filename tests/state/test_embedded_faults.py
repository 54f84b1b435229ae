"""The embedded Redis after sudden ends: cut files, several who start it, a machine where it is not found, process 1."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from state.embedded import Answer, EmbeddedRedis
from tests.processes import ROOT, as_process_one


def append_only_file(folder: Path) -> Path:
    """Return the file that writes are appended to: one in Redis 6, the newest of a folder from Redis 7 on."""
    return next(iter([*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("*.aof")]))


def test_a_server_that_ended_in_the_middle_of_a_write_loads_all_before_it(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path).start()
    client = redis.Redis.from_url(server.url)
    for n in range(100):
        client.set(f"key-{n}", "x" * 100)
    server.kill()
    aof = append_only_file(tmp_path)
    whole = aof.read_bytes()
    aof.write_bytes(whole + b"*3\r\n$3\r\nSET\r\n$7\r\nkey-100\r\n$100\r\nxxxx")
    server.start()
    try:
        assert client.dbsize() == 100
        assert client.set("key-100", "y") is True
    finally:
        client.close()
        server.stop()


def test_starting_one_that_runs_changes_nothing(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        pid = server.pid
        server.launch()
        server.start()
        assert server.pid == pid


def test_several_who_start_it_after_a_kill_start_one(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path).start()
    try:
        server.kill()
        assert (server.process, server.answer(1.0)) == (None, Answer.NO)
        starting = [threading.Thread(target=server.start) for _ in range(8)]
        for one in starting:
            one.start()
        for one in starting:
            one.join()
        assert server.answer(1.0) is Answer.YES
        assert (server.folder / "redis.log").read_text().count("Ready to accept connections") == 2
    finally:
        server.stop()


def test_redis_starts_where_its_parent_is_process_one(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from state.embedded import EmbeddedRedis
with EmbeddedRedis(Path({str(tmp_path)!r})) as server:
    print(os.getpid(), server.answer(1.0).value)
"""
    ended = subprocess.run(
        as_process_one([sys.executable, "-c", code]), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("1 yes\n", "")


def test_the_servers_log_is_bounded_like_every_process_s(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert (server.log.path, server.log.limit) == (tmp_path / "redis.log", 16 << 20)
        assert "Ready to accept connections" in server.log.tail()
        server.log.path.write_bytes(b"x" * ((16 << 20) + 1))
        server.log.bound()
    assert (tmp_path / "redis.log.1").stat().st_size > 16 << 20
    said = (tmp_path / "redis.log").read_bytes()
    assert b"bye bye" in said  # it wrote on, at the start
    assert not said.startswith(b"\0")


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_a_server_that_is_killed_many_times_has_one_thread_that_syncs(tmp_path: Path, fsync: str) -> None:
    def syncing() -> int:
        return sum(thread.name == "redis-fsync" for thread in threading.enumerate())

    before = syncing()
    server = EmbeddedRedis(tmp_path, fsync=fsync).start()
    for _ in range(3):
        assert server.process is not None
        server.process.kill()  # not by us: nobody told the thread
        server.process.wait()
        server.start()
    threads = [thread for thread in threading.enumerate() if thread.name == "redis-fsync"]
    for thread in threads[:-1]:
        thread.join(3.0)
    assert syncing() - before == (1 if fsync == "everysec" else 0)
    server.stop()
