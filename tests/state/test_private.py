"""What the embedded Redis holds is for its user alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from state.embedded import Answer, EmbeddedRedis


def rights(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_nobody_without_its_password_gets_an_answer(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        for password in (None, "guess"):
            with (
                redis.Redis(port=server.port, password=password, retry=Retry(NoBackoff(), 0)) as other,
                pytest.raises(redis.AuthenticationError),
            ):
                other.get("x")
        with redis.Redis.from_url(server.url) as client:
            assert client.set("x", "1") is True
        assert server.password not in server.place
        assert f":{server.password}@127.0.0.1:{server.port}/0" in server.url


def test_its_files_are_its_user_s_alone_whatever_the_umask_and_whatever_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir(mode=0o755)
    (folder / "redis.log").touch(mode=0o644)
    before = os.umask(0o000)
    try:
        with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
            client.set("x", "1")
            client.bgrewriteaof()
            found = rights(folder)
    finally:
        os.umask(before)
    assert {name for name in found if name in ("redis.conf", "url", "redis.log")} == {"redis.conf", "url", "redis.log"}
    assert any(name.endswith(".aof") for name in found)
    assert {mode & 0o077 for mode in found.values()} == {0}


def test_its_password_is_in_no_argument_and_stays_with_the_folder(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        asked = ["ps", "-ww", "-o", "args=", "-p", str(server.pid)]
        seen = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert server.password not in seen.stdout
        assert (tmp_path / "url").read_text() == f"{server.url}\n"
        server.kill()
        server.start()
        assert server.answer(1.0) is Answer.YES
    assert EmbeddedRedis(tmp_path).password == server.password


def test_a_configuration_that_was_changed_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "redis.conf").write_text("requirepass short\nloglevel debug\n")
    with EmbeddedRedis(tmp_path) as server:
        assert len(server.password) == 32
        assert (tmp_path / "redis.conf").read_text() == f"requirepass {server.password}\n"
