"""A disk that is full: what was acknowledged is kept, what cannot be kept is refused, and room ends it by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import pytest

from contracts.errors import LogUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.redis_dead_letters import RedisDeadLetters
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader, RedisLogWriter
from state.embedded import EmbeddedRedis
from tests.small_disk import MakeDisk, SmallDisk

pytestmark = pytest.mark.usefixtures("redis_family")

LOG = LogSettings(partitions=4)
REFUSALS = 12
"""A disk is full for so many refused appends before Redis is killed."""


def settings_of(server: EmbeddedRedis) -> RedisSettings:
    return RedisSettings(url=server.url, timeout_ms=60_000)


@pytest.fixture
def disk(make_disk: MakeDisk) -> SmallDisk:
    return make_disk(8)


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(disk.folder / "redis") as started:
        yield started


def everything(server: EmbeddedRedis, topic: Topic) -> set[bytes]:
    reader = RedisLogReader(settings_of(server), topic, range(LOG.partitions), "sessions")
    found: set[bytes] = set()
    while batches := reader.poll(1000, 0.0):
        found.update(message.value for batch in batches for message in batch.messages)
    reader.close()
    return found


async def append_until_refused(server: EmbeddedRedis, seed: int, topic: Topic) -> set[bytes]:
    """Append from several clients of two writers, of a seed's sizes; return what was acknowledged."""
    sizes, acknowledged, refusals = random.Random(seed), set[bytes](), 0
    writers = [RedisAsyncLogWriter(LOG, settings_of(server)) for _ in range(2)]

    async def client(number: int) -> None:
        nonlocal refusals
        at = 0
        while refusals < REFUSALS:
            values = [
                f"{number}:{at}:{n}:".encode() + bytes(sizes.randrange(300)) for n in range(1 + sizes.randrange(4))
            ]
            at += 1
            try:
                await writers[number % 2].append(topic, [Record(f"s{number}:{value[:9]!r}", value) for value in values])
                acknowledged.update(values)
            except LogUnavailable:
                refusals += 1

    await asyncio.gather(*map(client, range(8)))
    for writer in writers:
        await writer.close()
    return acknowledged


@pytest.mark.parametrize("topic", [Topic.CLICKS, Topic.ITEMS])
@pytest.mark.parametrize("seed", range(4))
async def test_what_was_acknowledged_survives_a_redis_that_ends_while_the_disk_is_full(
    disk: SmallDisk, server: EmbeddedRedis, seed: int, topic: Topic
) -> None:
    disk.fill(leave=1 << 18)
    acknowledged = await append_until_refused(server, seed, topic)
    server.kill()
    disk.clear()
    server.start()
    assert len(acknowledged) > 100
    assert acknowledged - everything(server, topic) == set()


def test_appends_go_on_by_themselves_when_there_is_room_again(disk: SmallDisk, server: EmbeddedRedis) -> None:
    writer = RedisLogWriter(LOG, settings_of(server))
    writer.append(Topic.CLICKS, [Record("anna", b"before")])
    disk.fill()
    kept = [b"before"]

    def append_on() -> None:
        for n in range(100_000):  # the file's last page takes some
            writer.append(Topic.CLICKS, [Record("anna", str(n).encode())])
            kept.append(str(n).encode())

    with pytest.raises(LogUnavailable, match="MISCONF Errors writing to the AOF file: No space left on device"):
        append_on()
    disk.clear()
    append_in_time(writer, b"after")
    assert {*kept, b"after"} <= everything(server, Topic.CLICKS)
    writer.close()


def test_a_dead_letter_that_the_disk_did_not_take_is_told(disk: SmallDisk, server: EmbeddedRedis) -> None:
    writer, letters = RedisLogWriter(LOG, settings_of(server)), RedisDeadLetters(LOG, settings_of(server))
    disk.fill()
    told = []

    def write_on() -> None:
        for n in range(100_000):
            writer.dead_letter([DeadLetter(f"clicks:0:{n}", 0, "late", "", 5, b"raw")])
            told.append(n)

    with pytest.raises(LogUnavailable, match="could not write dead letters"):
        write_on()
    server.kill()
    disk.clear()
    server.start()
    assert letters.count() >= len(told)
    writer.close()
    letters.close()


def append_in_time(writer: RedisLogWriter, value: bytes) -> None:
    for _ in range(600):
        try:
            writer.append(Topic.CLICKS, [Record("anna", value)])
            return
        except LogUnavailable:
            time.sleep(0.1)
    raise AssertionError("appends did not go on within a minute")
