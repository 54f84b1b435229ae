"""Whatever Redis answers instead of doing what it was asked is an outage to whoever asked: waited out, not a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
import redis

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader, RedisLogWriter
from state.async_tables import AsyncTableReader
from state.embedded import EmbeddedRedis
from state.ports import free_port
from state.sessions import SessionReader, SessionStore
from state.tables import Source, TableReader, TableWriter
from tests.small_disk import MakeDisk, SmallDisk

pytestmark = pytest.mark.usefixtures("redis_family")

LOG = LogSettings(partitions=1)
Client = Any


@pytest.fixture(scope="module")
def server(redis_family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("refusing")) as started:
        yield started


@contextmanager
def full_memory(client: Client) -> Iterator[str]:
    client.config_set("maxmemory", "1")
    yield "OOM"
    client.config_set("maxmemory", "0")


@contextmanager
def a_replica(client: Client) -> Iterator[str]:
    client.execute_command("REPLICAOF", "127.0.0.1", free_port())
    yield "it is a replica"
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def no_right_to_write(client: Client) -> Iterator[str]:
    client.execute_command("ACL", "SETUSER", "default", "-@scripting")
    yield "give its user the right"
    client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def writes(settings: RedisSettings) -> Iterator[dict[str, Callable[[], object]]]:
    where: dict[str, Any] = {"watermark_ms": 0, "sessions": [], "counts": {}}
    with (
        closing(SessionStore(settings, idle_gap_ms=1000)) as sessions,
        closing(TableWriter(settings, "t")) as table,
        closing(RedisLogWriter(LOG, settings)) as log,
    ):
        yield {
            "sessions": lambda: sessions.commit(0, start=0, next=0, **where),
            "rows": lambda: table.commit({b"k": b"row"}),
            "rows of a source": lambda: table.commit({b"k": b"row"}, source=Source("items", 0, 0, 0)),
            "append": lambda: log.append(Topic.CLICKS, [Record("anna", b"x")]),
            "dead letter": lambda: log.dead_letter([DeadLetter("gateway", 0, "late", "", 5, b"raw")]),
        }


@pytest.mark.parametrize("refusing", [full_memory, a_replica, no_right_to_write])
@pytest.mark.parametrize("what", ["sessions", "rows", "rows of a source", "append", "dead letter"])
def test_a_refused_write_is_an_outage_and_goes_through_afterwards(
    server: EmbeddedRedis, refusing: Callable[[Client], Any], what: str
) -> None:
    settings = RedisSettings(url=server.url, prefix=refusing.__name__, timeout_ms=60_000)
    with redis.Redis.from_url(server.url) as client, writes(settings) as write:
        with refusing(client) as why, pytest.raises((StateUnavailable, LogUnavailable), match=why):
            write[what]()
        write[what]()


@contextmanager
def busy(server: EmbeddedRedis) -> Iterator[None]:
    """Somebody's script that does not end."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("lua-time-limit", "1")
        thread = threading.Thread(target=turn_for_ever, args=(server.url,))
        thread.start()
        until = time.monotonic() + 60
        with suppress(redis.ResponseError):
            while time.monotonic() < until:
                client.get("x")
        yield
        client.script_kill()
        thread.join()


def turn_for_ever(url: str) -> None:
    with suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        client.eval("while true do end", 0)


async def test_a_busy_redis_is_an_outage_to_everyone(server: EmbeddedRedis) -> None:
    settings = RedisSettings(url=server.url, prefix="busy", timeout_ms=60_000)
    views, rows = SessionReader(settings, partitions=1), AsyncTableReader(settings, "t")
    writer = RedisAsyncLogWriter(LOG, settings)
    with (
        closing(TableReader(settings, "t")) as table,
        closing(RedisLogReader(settings, Topic.CLICKS, [0], "g")) as log,
        writes(settings) as write,
    ):
        with busy(server):
            calls = [table.end, table.size, lambda: list(table.rows()), lambda: table.changes(0), log.ends]
            for call in [*write.values(), *calls, lambda: log.poll(1, 0.0), lambda: log.commit(0, 1)]:
                with pytest.raises((StateUnavailable, LogUnavailable), match="somebody's script takes too long"):
                    call()
            asked = [views.read(["anna"]), views.applied(0), rows.end(), rows.changes(0), rows.applied("items", [0])]
            for one in [*asked, writer.append(Topic.CLICKS, [Record("anna", b"x")])]:
                with pytest.raises((StateUnavailable, LogUnavailable), match="somebody's script takes too long"):
                    await one
        assert await rows.end() == table.end() == 0
        assert (await writer.append(Topic.CLICKS, [Record("anna", b"x")]))[0].offset == 0
    for opened in (views, rows, writer):
        await opened.close()


def test_a_full_disk_is_an_outage_to_the_state_too(make_disk: MakeDisk) -> None:
    disk = make_disk(8)
    with EmbeddedRedis(disk.folder / "redis") as server:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        with writes(settings) as write:
            commit_until_full(disk, write["rows of a source"])
            for what in ("sessions", "rows", "append"):
                with pytest.raises((StateUnavailable, LogUnavailable), match="MISCONF"):
                    write[what]()
            disk.clear()
            until = time.monotonic() + 60
            while time.monotonic() < until:
                with suppress(StateUnavailable):
                    write["sessions"]()
                    break
            write["sessions"]()


def commit_until_full(disk: SmallDisk, commit: Callable[[], object], leave: int = 0) -> int:
    """Returns how many commits were done before the disk was full."""
    disk.fill(leave)
    done = 0
    with suppress(StateUnavailable):
        while done < 100_000:
            commit()
            done += 1
    return done


def test_rows_that_nobody_would_write_again_survive_a_redis_that_ends_on_a_full_disk(make_disk: MakeDisk) -> None:
    disk, numbers = make_disk(8), iter(range(100_000))
    with EmbeddedRedis(disk.folder / "redis") as server:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        with closing(TableWriter(settings, "t")) as table, closing(TableReader(settings, "t")) as reader:
            kept = commit_until_full(disk, lambda: table.commit({b"%d" % next(numbers): b"row"}), 1 << 16)
            server.kill()
            disk.clear()
            server.start()
            assert kept > 10
            assert {key for rows in reader.rows() for key, _ in rows} >= {b"%d" % n for n in range(kept)}


def test_the_password_of_redis_is_not_told() -> None:
    settings = RedisSettings(url="redis://me:secret@127.0.0.1:1/0")
    with (
        closing(TableReader(settings, "t")) as reader,
        pytest.raises(StateUnavailable, match=r"127\.0\.0\.1:1 within") as error,
    ):
        reader.end()
    assert "secret" not in str(error.value)


async def test_a_redis_that_refuses_to_read_a_user_is_out_and_nothing_else_goes_wrong(server: EmbeddedRedis) -> None:
    reader = SessionReader(RedisSettings(url=server.url), partitions=1)
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-mget")  # refused alone, as all is while Redis loads
        try:
            assert (await reader.view("s")).session is None
            with pytest.raises(StateUnavailable, match="give its user the right"):
                await reader.view("s", "anna")
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")
    assert (await reader.view("s", "anna")).user is None
    await reader.close()
