"""A relay of changes over a real Redis: who follows a table by it sees what Redis has, whatever dies."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from contracts.errors import StartupError
from contracts.exits import WRONG_SETTING
from contracts.keys import TRENDS
from contracts.settings import RedisSettings, RelayOptions
from state import relayed_line
from state.async_tables import AsyncTableReader
from state.client import connect
from state.embedded import EmbeddedRedis
from state.relay import Relay
from state.relay_frames import KeptFrames
from state.relay_words import hello
from state.table_changes import Change, ChangesTrimmed
from state.tables import TableWriter, table_keys
from tests.processes import ROOT, wait_for
from tests.redis_cut import losing_what_is_written


@pytest.fixture
def path() -> Iterator[str]:
    """A socket's path, short enough for one."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/relay.sock"


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed_line, "AGAIN_S", (0.0, 0.05))


@asynccontextmanager
async def relayed(settings: RedisSettings, path: str, table: str = "t") -> AsyncIterator[Relay]:
    relay = Relay(settings, RelayOptions(socket=path), [table])
    running = asyncio.create_task(relay.run())
    try:
        await asyncio.to_thread(wait_for, lambda: all(feed.kept is not None for feed in relay.feeds))
        yield relay
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def started(settings: RedisSettings, path: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "NEXTCLICK_REDIS__URL": settings.url, "NEXTCLICK_REDIS__PREFIX": settings.prefix}
    command = [sys.executable, "-m", "state.relay"]
    own = {"NEXTCLICK_RELAY__SOCKET": path, "NEXTCLICK_RELAY__MEMORY": str(Path(path).parent)}
    process = subprocess.Popen(command, cwd=ROOT, env={**env, **own})
    wait_for(Path(path).exists)
    return process


class Follower:
    """Reads a table's changes by a relay, and remembers them."""

    def __init__(self, settings: RedisSettings, path: str, table: str = "t") -> None:
        self.reader = AsyncTableReader(settings, table, path)
        self.seen: list[Change] = []
        self.place = 0

    @property
    def on_relay(self) -> bool:
        assert self.reader._relayed is not None
        return self.reader._relayed.on_relay

    async def begin(self) -> None:
        self.place = await self.reader.begin()

    async def read(self, block_ms: int = 20) -> None:
        changes = await self.reader.changes(self.place, block_ms)
        self.seen += changes
        self.place += len(changes)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self.read()


def commit(writer: TableWriter, *numbers: int) -> None:
    for number in numbers:
        writer.commit({b"k%d" % number: b"row %d" % number})


async def test_followers_by_a_relay_see_every_change_and_redis_tells_it_once(tmp_path: Path, path: str) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        writer = TableWriter(settings, "t")
        commit(writer, *range(5))
        async with relayed(settings, path) as relay:
            followers = [Follower(settings, path) for _ in range(8)]
            for one in followers:
                await one.begin()
                await one.until(lambda one=one: one.on_relay)  # type: ignore[misc]
            before = connect(settings).info("stats")["total_net_output_bytes"]
            writer.commit({b"k": b"x" * 100_000}, [b"gone"])
            for one in followers:
                await one.until(lambda one=one: len(one.seen) == 2)  # type: ignore[misc]
                assert one.seen == [Change(5, b"k", b"x" * 100_000), Change(6, b"gone", None)]
                assert one.on_relay
            assert connect(settings).info("stats")["total_net_output_bytes"] - before < 150_000
            assert len(relay.peers) == 8
            for one in followers:
                await one.reader.close()
        writer.close()


async def test_a_relay_that_goes_and_comes_takes_nothing_from_who_follows(
    redis_settings: RedisSettings, path: str
) -> None:
    writer, one, rng = TableWriter(redis_settings, "t"), Follower(redis_settings, path), random.Random(7)
    await one.begin()
    number, by_relay = 0, 0
    for _ in range(6):
        async with relayed(redis_settings, path):
            for _ in range(rng.randrange(1, 6)):
                commit(writer, number)
                number += 1
                await one.read()
            await one.until(lambda: one.on_relay)
            by_relay += 1
            commit(writer, number)
            number += 1
            await one.until(lambda: one.place == number)  # noqa: B023
        commit(writer, number)
        number += 1
    await one.until(lambda: one.place == number)
    assert by_relay == 6
    assert one.seen == [Change(at, b"k%d" % at, b"row %d" % at) for at in range(number)]
    await one.reader.close()
    writer.close()


async def test_whoever_read_what_redis_lost_loads_again(tmp_path: Path, path: str) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        writer, one = TableWriter(settings, "t"), Follower(settings, path)
        async with relayed(settings, path):
            await one.begin()
            with losing_what_is_written(server):
                commit(writer, 0, 1)
                await one.until(lambda: one.place == 2)
                assert one.on_relay
            commit(writer, 2, 3, 4)
            with pytest.raises(ChangesTrimmed, match="the connection to Redis was lost since reading began"):
                await one.until(lambda: one.place == 5)
            await one.begin()
            assert one.place == 3
            commit(writer, 5)
            await one.until(lambda: one.place == 4 and one.on_relay)
            assert one.seen[-1] == Change(3, b"k5", b"row 5")
        await one.reader.close()
        writer.close()


async def test_what_a_relay_no_longer_keeps_is_read_from_redis(redis_settings: RedisSettings, path: str) -> None:
    writer, one = TableWriter(redis_settings, "t"), Follower(redis_settings, path)
    await one.begin()
    commit(writer, *range(40))
    async with relayed(redis_settings, path):
        await one.until(lambda: one.place == 40)
        assert [change.number for change in one.seen] == list(range(40))
        await one.until(lambda: one.on_relay)
    await one.reader.close()
    writer.close()


async def test_whoever_knows_more_than_the_relay_waits_for_it(redis_settings: RedisSettings, path: str) -> None:
    writer, one = TableWriter(redis_settings, "t"), Follower(redis_settings, path)
    async with relayed(redis_settings, path) as relay:
        await one.begin()
        await one.until(lambda: one.on_relay)
        feed = relay.feeds[0]
        commit(writer, 0, 1)
        await one.until(lambda: one.place == 2)
        told = feed.kept
        feed.kept = KeptFrames(0, most_changes=100, most_bytes=10_000)  # as if none of it had come here yet
        await one.read()
        assert (one.place, one.on_relay) == (2, True)
        feed.kept = told
        commit(writer, 2)
        await one.until(lambda: one.place == 3)
        assert one.on_relay
        assert one.seen[2:] == [Change(2, b"k2", b"row 2")]
    await one.reader.close()
    writer.close()


async def test_where_there_is_no_room_for_changes_gateways_read_from_redis_until_there_is(
    redis_settings: RedisSettings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, one = TableWriter(redis_settings, "t"), Follower(redis_settings, path)
    posix_fallocate = os.posix_fallocate

    def full(opened: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    async with relayed(redis_settings, path) as relay:
        await one.begin()
        await one.until(lambda: one.on_relay)
        commit(writer, 0, 1)
        await one.until(lambda: one.place == 2)
        assert not one.on_relay
        monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
        await one.until(lambda: one.on_relay)
        commit(writer, 2)
        await one.until(lambda: one.place == 3)
        assert one.on_relay
        assert relay.feeds[0].begun == 2
    assert [change.number for change in one.seen] == [0, 1, 2]
    await one.reader.close()
    writer.close()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("1-7", {"put": "1", "k": "row"}),
        ("2-1", {"what": "ever"}),
        ("2-1", {"put": "9", "k": "row"}),
        ("99-1", {"put": "1", "k": "row"}),
    ],
    ids=["of an older change", "no change", "fewer than it says", "of a change far away"],
)
async def test_an_odd_entry_of_the_stream_ends_no_relay_and_who_follows_has_what_comes_after(
    redis_settings: RedisSettings, path: str, name: str, fields: dict[str, str]
) -> None:
    writer, one = TableWriter(redis_settings, "t"), Follower(redis_settings, path)
    async with relayed(redis_settings, path) as relay:
        await one.begin()
        commit(writer, 0, 1)
        await one.until(lambda: one.on_relay and one.place == 2)
        connect(redis_settings).xadd(table_keys(redis_settings, "t")[1], fields, id=name)
        await asyncio.sleep(0.1)
        end = writer.commit({b"after": b"row"})

        async def has_after() -> bool:
            try:
                await one.read()
            except ChangesTrimmed:  # as a replica does
                await one.begin()
                found = [pair async for page in one.reader.rows() for pair in page]
                return (b"after", b"row") in found
            return any(change.key == b"after" for change in one.seen)

        async with asyncio.timeout(60):
            while not await has_after():
                pass
            commit(writer, 7)
            while one.place <= end and one.place < await one.reader.end():
                await one.read()
        await asyncio.to_thread(wait_for, lambda: relay.feeds[0].kept is not None)
        await one.reader.close()
    writer.close()


@pytest.mark.parametrize("other", [{"timeout_ms": 1000}, {"prefix": "another"}, {"url": "redis://localhost:1/0"}])
async def test_a_relay_of_another_redis_is_not_read_from(
    redis_settings: RedisSettings, path: str, other: dict[str, object]
) -> None:
    writer = TableWriter(redis_settings, "t")
    one, told = Follower(redis_settings, path), redis_settings.model_copy(update=other)
    relay = Relay(told, RelayOptions(socket=path), ["t"])
    relay.feeds[0].kept = KeptFrames(0, most_changes=10, most_bytes=1000)
    running = asyncio.create_task(relay.run())
    await one.begin()
    commit(writer, 0)
    for _ in range(5):
        await one.read()
    assert (one.place, one.on_relay) == (1, "timeout_ms" in other)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await one.reader.close()
    writer.close()


def words(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))


async def test_what_is_no_question_of_a_follower_is_refused_or_ends_its_own_connection(
    redis_settings: RedisSettings, path: str
) -> None:
    stream = table_keys(redis_settings, "t")[1].encode()
    begun = words(*hello(redis_settings, stream))
    asked = [
        (words(b"GET", b"x"), b"-ERR this relay is of another release or Redis"),
        (words(b"RELAY", b"2", b"", stream), b"-ERR this relay is of another release or Redis"),
        (begun, b"+OK\r\n"),
        (begun + words(b"FLUSHALL"), b"+OK\r\n-ERR expected XREAD COUNT n [BLOCK ms] STREAMS key id, or GET"),
        (begun + words(b"GET", b"other"), b"+OK\r\n-ERR expected XREAD"),
        (begun + words(b"XREAD", b"COUNT", b"1", b"STREAMS", b"other", b"0-0"), b"+OK\r\n-ERR expected the stream"),
        (begun + words(b"XREAD", b"COUNT", b"x", b"STREAMS", stream, b"0-0"), b"+OK\r\n-ERR "),
        (begun + words(b"XREAD", b"COUNT", b"1", b"STREAMS", stream, b"$"), b"+OK\r\n-ERR "),
        (begun + words(b"XREAD", b"COUNT", b"1", b"STREAMS", stream, b"9-1"), b"+OK\r\n*-1\r\n"),
        (words(b""), b"-ERR "),
        (b"*0\r\n", b"-ERR "),
        (b"\xff\xfe what\r\n", b""),
        (b":7\r\n", b""),
        (words(b"GET") * 100, b""),
    ]
    async with relayed(redis_settings, path):
        for sent, expected in asked:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(sent)
            if expected:
                assert (await asyncio.wait_for(reader.read(200), 60)).startswith(expected), sent
            else:
                with suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(), 60) == b"", sent
            writer.close()
        one = Follower(redis_settings, path)
        await one.begin()
        await one.until(lambda: one.on_relay)
        await one.reader.close()


def test_where_a_file_stands_a_relay_does_not_start(redis_settings: RedisSettings, path: str) -> None:
    Path(path).write_text("something else")
    with pytest.raises(StartupError, match="there is a file that is no socket"):
        asyncio.run(Relay(redis_settings, RelayOptions(socket=path), ["t"]).run())
    assert Path(path).read_text() == "something else"


async def test_a_socket_that_a_killed_relay_left_is_taken_and_one_that_somebody_has_is_not(
    redis_settings: RedisSettings, path: str
) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)  # and nobody listens
    async with relayed(redis_settings, path):
        with pytest.raises(StartupError, match="somebody listens there"):
            await Relay(redis_settings, RelayOptions(socket=path), ["t"]).run()
    left.close()


async def test_a_relay_process_that_stands_still_or_is_killed_holds_nobody_up_for_long(
    redis_settings: RedisSettings, path: str
) -> None:
    process = await asyncio.to_thread(started, redis_settings, path)
    try:
        writer, one = TableWriter(redis_settings, TRENDS), Follower(redis_settings, path, TRENDS)
        await one.begin()
        await one.until(lambda: one.on_relay)
        process.send_signal(signal.SIGSTOP)
        commit(writer, 0)
        async with asyncio.timeout(30):
            await one.until(lambda: one.place == 1)
        assert not one.on_relay
        process.send_signal(signal.SIGCONT)
        await one.until(lambda: one.on_relay)
        process.kill()
        commit(writer, 1)
        await one.until(lambda: one.place == 2)
        assert [change.number for change in one.seen] == [0, 1]
        await one.reader.close()
        writer.close()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_relay_process_ends_when_it_is_asked_to(
    redis_settings: RedisSettings, path: str, number: signal.Signals
) -> None:
    process = started(redis_settings, path)
    process.send_signal(number)
    assert process.wait(60) == 0


def test_without_a_socket_a_relay_says_what_it_wants() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NEXTCLICK_")}
    command = [sys.executable, "-m", "state.relay"]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == WRONG_SETTING
    assert ran.stderr == "expected the path of its socket in NEXTCLICK_RELAY__SOCKET, got none\n"
