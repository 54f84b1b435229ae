"""Primaries that die: of a cluster, and of a Redis that Sentinels watch. What was acknowledged is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader, RedisLogWriter
from state.client import connect, redis_errors_translated
from state.redis_line import open_line, packed
from state.redis_rounds import RedisRounds
from tests.redis_cluster import Cluster, Watched, running_cluster, until, watched_by_sentinels
from tests.state.test_cluster import append_until, read_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two replicas each: the one that takes over still has one to wait for."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=2) as made:
        yield made


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_by_sentinels(tmp_path_factory.mktemp("sentinels")) as made:
        yield made


def settings_of(cluster: Cluster, prefix: str, **more: int) -> RedisSettings:
    return RedisSettings(
        url=cluster.url,
        kind="cluster",
        nodes=cluster.places,
        timeout_ms=5000,
        prefix=prefix,
        **more,  # type: ignore[arg-type]
    )


def test_a_primary_that_dies_under_load_loses_nothing_that_replicas_were_waited_for(cluster: Cluster) -> None:
    """Writes go on by themselves, to the replica that takes over; each acknowledged record is there."""
    settings, log = settings_of(cluster, "w", wait_replicas=1), LogSettings(partitions=4, gather_ms=0)
    victim = cluster.owner_of(Keys("w").log("clicks", 0))
    ours = [p for p in range(4) if cluster.owner_of(Keys("w").log("clicks", p)) is victim]
    writer, dead = RedisAsyncLogWriter(log, settings), asyncio.Event()
    back: list[float] = []

    async def load() -> list[bytes]:
        async def kill() -> None:
            await asyncio.sleep(0.3)
            victim.kill()
            killed = time.monotonic()
            for partition in ours:
                await _until_takes(writer, partition)
            back.append(time.monotonic() - killed)
            dead.set()

        killing = asyncio.create_task(kill())
        taken, refused = await append_until(writer, dead.is_set)
        await killing
        await writer.close()
        assert refused > 0
        return taken

    taken = asyncio.run(load())
    found = set(read_all(settings, log))
    assert [value for value in taken if value not in found] == []
    assert len(taken) > 4
    assert back[0] > 0
    victim.start()
    cluster.wait_until_whole()


async def _until_takes(writer: RedisAsyncLogWriter, partition: int) -> None:
    """Return once the partition has taken a record, under a key that lies in it."""
    key = next(f"k{n}" for n in range(1000) if partition_of(f"k{n}", 4) == partition)
    while True:
        try:
            await writer.append(Topic.CLICKS, [Record(key, b"probe")])
        except (LogUnavailable, TimeoutError):
            await asyncio.sleep(0.02)
        else:
            return


def test_too_few_replicas_refuse_a_write_and_say_so(cluster: Cluster) -> None:
    """Three are asked for where each primary has two."""
    settings, log = settings_of(cluster, "few", wait_replicas=3, wait_ms=200), LogSettings(partitions=2)
    writer, told = RedisLogWriter(log, settings), "expected 3 replicas to have it after 200 ms, got [0-2]; its replicas"
    with pytest.raises(LogUnavailable, match=told):
        writer.append(Topic.CLICKS, [Record("s", b"1")])
    writer.close()
    both = RedisAsyncLogWriter(log, settings)

    async def refused() -> None:
        with pytest.raises(LogUnavailable, match=told):
            await both.append(Topic.CLICKS, [Record("s", b"1")])
        await both.close()

    asyncio.run(refused())
    assert len(read_all(settings, log)) == 2  # they were taken all the same: sent again, readers count them once


def test_sentinels_are_followed_to_the_replica_that_takes_over(watched: Watched) -> None:
    settings = watched.settings(wait_replicas=1)
    client, log = connect(settings), LogSettings(partitions=2)
    rounds, writer = RedisRounds(client), RedisLogWriter(log, settings)
    client.set("before", "1")
    writer.append(Topic.CLICKS, [Record(f"s{n}", b"%d" % n) for n in range(20)])
    first = watched.primary()
    alone = watched.settings(wait_replicas=0)
    after, lined = connect(alone), RedisRounds(connect(alone))

    async def follow() -> list[bytes]:
        line = open_line(alone)
        assert await line.call(packed((b"GET", b"before")), 1) == [b"1"]
        first.kill()
        until(lambda: after.set("after", "2"))
        assert await line.call(packed((b"GET", b"before"), (b"SET", b"line", b"3")), 2) == [b"1", b"OK"]
        await line.close()
        return list(lined.ask([("GET", "before"), ("GET", "after")]))

    assert asyncio.run(follow()) == [b"1", b"2"]
    assert watched.primary() is not first
    reader = RedisLogReader(alone, Topic.CLICKS, range(2), "sessions")
    found = [message.value for batch in reader.poll(100, 0.0) for message in batch.messages]
    assert sorted(found, key=int) == [b"%d" % n for n in range(20)]
    with pytest.raises(LogUnavailable, match="expected 1 replicas to have it"):
        writer.append(Topic.CLICKS, [Record("s", b"x")])  # the one that took over has none
    for one in (reader, writer, rounds, lined, client, after):
        one.close()


def test_sentinels_that_know_of_no_such_service_are_said_to(watched: Watched) -> None:
    settings = watched.settings(service="nobody")
    client = connect(settings)
    with pytest.raises(StateUnavailable, match="nobody"), redis_errors_translated(settings):
        client.get("a")
    client.close()
