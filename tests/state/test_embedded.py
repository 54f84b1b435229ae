"""The embedded Redis: what it answered for is there after it was killed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import redis

from contracts.errors import StartupError
from state.embedded import EmbeddedRedis

pytestmark = pytest.mark.usefixtures("redis_family")


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_every_answered_write_survives_the_servers_sudden_death(tmp_path: Path, fsync: str) -> None:
    server = EmbeddedRedis(tmp_path, fsync=fsync).start()
    answered: list[int] = []

    def write() -> None:
        client = redis.Redis.from_url(server.url, socket_timeout=60, retry=None)
        try:
            while True:
                answered.append(int(client.incr("writes")))  # type: ignore[arg-type]
        except redis.RedisError:
            client.close()

    for _ in range(4):
        writer = threading.Thread(target=write)
        writer.start()
        least = len(answered) + 50
        time.sleep(0.2)
        wait_for_answers(answered, least)
        server.kill()
        writer.join()
        server.start()
        client = redis.Redis.from_url(server.url)
        assert int(client.get("writes") or 0) >= answered[-1]  # type: ignore[arg-type]
        client.close()
    server.stop()
    assert len(answered) >= 200


def wait_for_answers(answered: list[int], least: int) -> None:
    until = time.monotonic() + 60
    while len(answered) < least:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_starting_says_what_the_servers_log_says_when_it_does_not_come_up(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"not a log\n")
    with pytest.raises(StartupError, match=r"redis-server did not answer .* Its log ends:"):
        EmbeddedRedis(tmp_path).start(timeout_s=5)
