"""Snapshots of a Redis: of every family, at one moment, and never half of one."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis
from state.redis_snapshot import SnapshotRefused, copy_snapshot, snapshot_facts, write_snapshot

MARK = b"0123456789" * 4


class Chunks(io.BytesIO):
    """A connection whose bytes come in pieces of a few each."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(self.most, size if size is not None and size >= 0 else self.most))

    read1 = read  # type: ignore[assignment]


@given(st.binary(max_size=300), st.integers(1, 90), st.booleans(), st.integers(0, 3))
def test_a_snapshot_is_whole_however_it_comes(content: bytes, most: int, is_marked: bool, waits: int) -> None:
    head, end = (b"$EOF:" + MARK, MARK) if is_marked else (b"$%d" % len(content), b"")
    into = io.BytesIO()
    came = b"\n" * waits + head + b"\r\n" + content + end
    assert copy_snapshot(Chunks(came, most), into) == len(content)
    assert into.getvalue() == content


@given(st.binary(min_size=1, max_size=60), st.booleans(), st.data())
def test_one_that_is_cut_short_is_none(content: bytes, is_marked: bool, drawn: st.DataObject) -> None:
    head, end = (b"$EOF:" + MARK, MARK) if is_marked else (b"$%d" % len(content), b"")
    whole = head + b"\r\n" + content + end
    cut = drawn.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(redis.ConnectionError):
        copy_snapshot(Chunks(whole[:cut], 7), io.BytesIO())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"-NOPERM this user has no permissions to run the 'sync' command\r\n", SnapshotRefused),
        (b"-ERR unknown command 'SYNC'\r\n", SnapshotRefused),
        (b"-LOADING Redis is loading the dataset in memory\r\n", redis.ResponseError),
        (b"", redis.ConnectionError),
    ],
)
def test_a_refusal_is_told_from_a_server_that_cannot_now(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        copy_snapshot(Chunks(answer, 100), io.BytesIO())


@pytest.mark.usefixtures("redis_family")
def test_every_family_gives_a_snapshot_and_reads_it_as_the_beginning_of_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "redis.rdb"
    with EmbeddedRedis(tmp_path / "one") as server, redis.Redis.from_url(server.url) as client:
        client.mset({f"k{n}": "x" * n for n in range(2000)})
        client.set("fades", 1, ex=1000)
        written = write_snapshot(RedisSettings(url=server.url), path)
    facts = snapshot_facts(path)
    assert (path.stat().st_size, facts.database, facts.keys, facts.expiring) == (written, 0, 2001, 1)
    (tmp_path / "two").mkdir()
    shutil.copy(path, tmp_path / "two" / "appendonly.aof")
    for _ in range(2):  # the second start reads what the first one made of it
        with EmbeddedRedis(tmp_path / "two") as server, redis.Redis.from_url(server.url) as client:
            assert (client.dbsize(), client.get("k1999")) == (2001, b"x" * 1999)
            assert client.ttl("fades") > 0


def test_another_file_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"REDIX0009")
    with pytest.raises(StateUnavailable, match="expected a snapshot of Redis"):
        snapshot_facts(tmp_path / "other")
