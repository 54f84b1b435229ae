"""One suite, both logs: whatever a caller may lean on holds for Redis Streams and for Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from contracts.errors import LogUnavailable, OffsetTrimmed, RecordTooLarge
from contracts.ids import partition_of
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import (
    DeadLetter,
    Message,
    Position,
    Record,
    Topic,
)
from state.embedded import EmbeddedRedis
from tests.eventlog.logs import ALL, Log, clicks, read_all
from tests.kafka_broker import KafkaBroker
from tests.kafka_tls import TlsKafka
from tests.tls_redis import TlsRedis

T = TypeVar("T")

refused_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests that kill the broker: kafka-python leaves the sockets of refused connections to the collector."""


@pytest.fixture(scope="module")
def crashable_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    # `everysec` puts writes off, for up to two seconds, while a slow sync of earlier ones runs in the background
    with EmbeddedRedis(Path(tmp_path_factory.mktemp("log-redis")), fsync="always") as server:
        yield server


@pytest.fixture(
    params=[
        "redis",
        pytest.param("redis with TLS", id="redis-tls"),
        pytest.param("kafka", marks=pytest.mark.kafka),
        pytest.param("kafka with TLS", id="kafka-tls", marks=[pytest.mark.kafka, pytest.mark.slow]),
    ]
)
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    if request.param == "redis with TLS":
        strict: TlsRedis = request.getfixturevalue("strict_redis")
        found = Log(LogSettings(partitions=4), strict.as_client(f"t{uuid.uuid4().hex[:12]}"), strict.kill, strict.again)
    elif request.param == "kafka with TLS":
        tls: TlsKafka = request.getfixturevalue("tls_kafka")
        found = Log(tls.settings("users"), RedisSettings(), tls.broker.kill, tls.broker.start)
    elif request.param == "redis":
        server: EmbeddedRedis = request.getfixturevalue("crashable_redis")
        redis = RedisSettings(url=server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)
        found = Log(LogSettings(partitions=4), redis, server.kill, lambda: server.start() and None)
    else:
        settings: LogSettings = request.getfixturevalue("kafka_log_settings")
        broker: KafkaBroker | None = request.getfixturevalue("kafka_broker")
        if broker is None:
            found = Log(settings, RedisSettings(), _not_ours, _not_ours)
        else:
            found = Log(settings, RedisSettings(), broker.kill, broker.start)
    yield found
    for opened in found.opened:
        opened.close()


def _not_ours() -> None:
    pytest.skip("NEXTCLICK_KAFKA names a broker that is not ours to kill")


def test_a_record_goes_to_the_partition_of_its_key_and_is_read_back_at_its_position(log: Log) -> None:
    records = [Record(f"session-{n}", f"click {n}".encode()) for n in range(20)]

    positions = log.writer().append(Topic.CLICKS, records)

    assert [position.partition for position in positions] == [partition_of(record.key, 4) for record in records]
    assert {partition for partition, _ in positions} == {0, 1, 2, 3}
    found = {Position(partition, m.offset): m.value for partition, m in read_all(log.reader(), 20)}
    assert [found[position] for position in positions] == [record.value for record in records]


def test_the_clicks_of_a_session_keep_their_order_across_appends(log: Log) -> None:
    writer = log.writer()
    for start in range(0, 30, 10):
        writer.append(Topic.CLICKS, clicks("anna", 10, start) + clicks("ben", 10, start))

    values = [message.value.decode() for _, message in read_all(log.reader(), 60, max_records=7)]

    assert [value for value in values if value.startswith("anna")] == [f"anna:{n}" for n in range(30)]
    assert [value for value in values if value.startswith("ben")] == [f"ben:{n}" for n in range(30)]


def test_offsets_start_at_0_and_grow_by_one_for_each_record_of_a_partition(log: Log) -> None:
    writer = log.writer()

    first = writer.append(Topic.CLICKS, clicks("anna", 3))
    second = writer.append(Topic.CLICKS, clicks("anna", 2, 3))

    assert [position.offset for position in first + second] == [0, 1, 2, 3, 4]


def test_topics_do_not_mix(log: Log) -> None:
    writer = log.writer()
    writer.append(Topic.CLICKS, [Record("anna", b"click")])
    writer.append(Topic.ITEMS, [Record("anna", b"item")])

    assert [message.value for _, message in read_all(log.reader(Topic.ITEMS, group="items"), 1)] == [b"item"]


def test_appending_nothing_returns_nothing(log: Log) -> None:
    assert log.writer().append(Topic.CLICKS, []) == []


def test_a_reader_resumes_from_the_offset_it_is_told(log: Log) -> None:
    log.writer().append(Topic.CLICKS, clicks("anna", 10))
    partition = partition_of("anna", 4)
    reader = log.reader(partitions=[partition])
    reader.seek(partition, 7)

    (batch,) = reader.poll(100, 60.0)

    assert (batch.partition, batch.start, batch.next) == (partition, 7, 10)
    assert batch.messages == [Message(7, b"anna:7"), Message(8, b"anna:8"), Message(9, b"anna:9")]


def test_a_reader_can_go_back(log: Log) -> None:
    log.writer().append(Topic.CLICKS, clicks("anna", 5))
    partition = partition_of("anna", 4)
    reader = log.reader(partitions=[partition])
    assert len(read_all(reader, 5)) == 5

    reader.seek(partition, 3)

    assert [message.value for _, message in read_all(reader, 2)] == [b"anna:3", b"anna:4"]


def test_two_readers_of_different_partitions_share_a_topic_without_overlap(log: Log) -> None:
    records = [Record(f"session-{n}", f"{n}".encode()) for n in range(40)]
    log.writer().append(Topic.CLICKS, records)
    mine = {p: sum(partition_of(r.key, 4) == p for r in records) for p in ALL}

    left = read_all(log.reader(partitions=[0, 1]), mine[0] + mine[1])
    right = read_all(log.reader(partitions=[2, 3]), mine[2] + mine[3])

    assert {partition for partition, _ in left} == {0, 1}
    assert {partition for partition, _ in right} == {2, 3}
    assert {int(message.value) for _, message in left + right} == set(range(40))


def test_two_groups_each_read_everything(log: Log) -> None:
    log.writer().append(Topic.CLICKS, clicks("anna", 5))

    assert len(read_all(log.reader(group="sessions"), 5)) == 5
    assert len(read_all(log.reader(group="trends"), 5)) == 5


def test_the_ends_and_the_oldest_offsets_are_known_per_partition(log: Log) -> None:
    reader = log.reader()
    assert dict(reader.ends()) == {0: 0, 1: 0, 2: 0, 3: 0}
    assert dict(reader.earliest()) == {0: 0, 1: 0, 2: 0, 3: 0}

    log.writer().append(Topic.CLICKS, clicks("anna", 6))

    assert reader.ends()[partition_of("anna", 4)] == 6
    assert sum(reader.ends().values()) == 6
    assert dict(reader.earliest()) == {0: 0, 1: 0, 2: 0, 3: 0}


def test_an_empty_log_gives_nothing_after_the_wait(log: Log) -> None:
    reader = log.reader()
    reader.poll(10, 0.0)  # connect

    started = time.monotonic()
    assert reader.poll(10, 0.3) == []
    assert time.monotonic() - started > 0.25


def test_a_reader_that_waits_wakes_when_a_record_comes(log: Log) -> None:
    writer, reader = log.writer(), log.reader()
    writer.append(Topic.CLICKS, [Record("warm", b"up")])
    read_all(reader, 1)

    def send() -> None:
        time.sleep(0.05)
        writer.append(Topic.CLICKS, [Record("anna", b"click")])

    for _ in range(3):
        thread = threading.Thread(target=send)
        thread.start()
        began = time.monotonic()
        (batch,) = reader.poll(10, 200.0)
        took_s = time.monotonic() - began
        thread.join()
        assert [message.value for message in batch.messages] == [b"click"]
        assert took_s < 100.0  # half of the wait that it would sit out asleep


def test_an_offset_beyond_the_end_is_an_error_and_not_a_silent_wait(log: Log) -> None:
    log.writer().append(Topic.CLICKS, clicks("anna", 3))
    partition = partition_of("anna", 4)
    reader = log.reader(partitions=[partition])
    reader.seek(partition, 50)

    with pytest.raises(OffsetTrimmed, match="wanted offset 50"):
        reader.poll(10, 60.0)


def test_a_reader_refuses_a_partition_that_is_not_its_own(log: Log) -> None:
    with pytest.raises(ValueError, match=r"clicks partitions \[0, 1\], got 3"):
        log.reader(partitions=[0, 1]).seek(3, 0)


def test_a_token_names_a_position() -> None:
    assert Position(3, 88121).token == "p3:88121"
    assert Position.parse("p3:88121") == Position(3, 88121)
    for broken in ("3:88121", "p3", "p:1", "px:1", "p3:"):
        with pytest.raises(ValueError, match=r"."):
            Position.parse(broken)


async def test_the_async_writer_returns_positions_in_the_order_given(log: Log) -> None:
    writer = log.async_writer()
    records = [Record(f"session-{n}", f"{n}".encode()) for n in range(12)]

    positions = await writer.append(Topic.CLICKS, records)
    assert await writer.append(Topic.CLICKS, []) == []
    await writer.close()

    assert [position.partition for position in positions] == [partition_of(record.key, 4) for record in records]
    found = {Position(partition, m.offset): m.value for partition, m in read_all(log.reader(), 12)}
    assert [found[position] for position in positions] == [record.value for record in records]


async def test_many_appends_at_once_each_get_their_own_positions(log: Log) -> None:
    writer = log.async_writer()
    everybody = [[Record(f"s{n}", f"s{n}:{at}".encode()) for at in range(3)] for n in range(50)]

    answers = await asyncio.gather(*(writer.append(Topic.CLICKS, records) for records in everybody))
    await writer.close()

    found = {Position(partition, m.offset): m.value for partition, m in read_all(log.reader(), 150)}
    assert [[found[position] for position in answer] for answer in answers] == [
        [record.value for record in records] for records in everybody
    ]


def letter(
    source: str, reason: str = "invalid", at_ms: int = 1000, partition: int = 1, raw: bytes = b"{"
) -> DeadLetter:
    return DeadLetter(source, partition, reason, "expected an object", at_ms, raw)


def test_dead_letters_are_read_back_as_they_were_oldest_first(log: Log) -> None:
    letters = [
        letter("clicks:1:7", "not_json", at_ms=1000, raw=b"\xff\x00{"),
        letter("gateway", "unknown_version", at_ms=2000, partition=3),
        letter("clicks:1:9", "late", at_ms=3000, raw="größer".encode()),
    ]
    log.writer().dead_letter(letters)

    reader = log.letters()

    assert reader.read(10) == letters
    assert reader.read(2) == letters[1:]
    assert reader.count() == 3


def test_a_dead_letter_of_the_same_record_is_kept_once(log: Log) -> None:
    writer, reader = log.writer(), log.letters()
    writer.dead_letter([letter("clicks:1:7"), letter("clicks:1:9")])
    writer.dead_letter([letter("clicks:1:9"), letter("clicks:1:8"), letter("items:1:9"), letter("clicks:1:7")])

    assert sorted(found.source for found in reader.read(10)) == ["clicks:1:7", "clicks:1:8", "clicks:1:9", "items:1:9"]
    assert reader.count() == 4


def test_every_refusal_of_the_gateway_is_kept(log: Log) -> None:
    writer = log.writer()
    writer.dead_letter([letter("gateway"), letter("gateway")])
    writer.dead_letter([letter("gateway")])

    assert log.letters().count() == 3


async def test_the_async_writer_keeps_dead_letters_too(log: Log) -> None:
    writer = log.async_writer()
    await writer.dead_letter([letter("clicks:1:7")])
    await writer.dead_letter([])
    await writer.close()

    assert log.letters().read(5) == [letter("clicks:1:7")]


def insist(attempt: Callable[[], T]) -> T:
    """Try for a minute: a server that was started again may need a while until it leads all its partitions."""
    until = time.monotonic() + 60
    while True:
        try:
            return attempt()
        except LogUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.mark.slow
@refused_sockets
async def test_a_dead_log_is_an_error_within_bounded_time_and_a_live_one_works_again(log: Log) -> None:
    writer, reader, letters, later = log.writer(), log.reader(), log.letters(), log.async_writer()
    before = writer.append(Topic.CLICKS, clicks("anna", 3))
    await later.append(Topic.CLICKS, clicks("ben", 3))
    read_all(reader, 6)

    log.kill()
    try:
        for attempt in (
            lambda: writer.append(Topic.CLICKS, clicks("anna", 1, 3)),
            lambda: writer.dead_letter([letter("clicks:1:7")]),
            lambda: [reader.poll(10, 1.0) for _ in range(60)],
            reader.ends,
            letters.count,
        ):
            started = time.monotonic()
            with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1"):
                attempt()
            assert time.monotonic() - started < 60
        with pytest.raises(LogUnavailable):
            await later.append(Topic.CLICKS, clicks("ben", 1, 3))
    finally:
        log.start()

    # What append had returned for survived the crash, and the same objects go on.
    after = insist(lambda: writer.append(Topic.CLICKS, clicks("anna", 1, 3)))
    insist(lambda: writer.append(Topic.CLICKS, clicks("ben", 1, 3)))  # that partition is back too
    await later.append(Topic.CLICKS, clicks("ben", 1, 4))
    await later.close()
    assert after[0].offset >= before[-1].offset + 1
    reader.seek(before[0].partition, 0)
    values: list[bytes] = []
    until = time.monotonic() + 60
    while b"anna:3" not in values and time.monotonic() < until:
        batches = insist(lambda: reader.poll(10, 0.2))
        values += [m.value for batch in batches for m in batch.messages if m.value.startswith(b"anna")]
    assert list(dict.fromkeys(values)) == [b"anna:0", b"anna:1", b"anna:2", b"anna:3"]


@pytest.mark.slow
@refused_sockets
def test_what_append_returned_for_survives_a_crash_of_the_server(log: Log) -> None:
    positions = log.writer().append(Topic.CLICKS, clicks("anna", 200))
    log.writer().dead_letter([letter("clicks:1:7")])

    log.kill()
    log.start()

    reader = log.reader()
    insist(reader.ends)
    found = read_all(reader, 200)
    assert [Position(partition, message.offset) for partition, message in found] == positions
    assert [message.value for _, message in found] == [f"anna:{n}".encode() for n in range(200)]
    assert insist(log.letters().count) == 1


def test_a_record_too_large_is_refused_alone_and_nobody_elses_append_with_it(log: Log) -> None:
    large = Record("large", b"x" * log.settings.max_record_bytes)

    async def append_all() -> list[list[Position] | BaseException]:
        writer = log.async_writer()
        try:
            others = [writer.append(Topic.CLICKS, [Record(f"s{at}", b"small")]) for at in range(20)]
            return await asyncio.gather(
                writer.append(Topic.CLICKS, [large]),
                *others,
                writer.append(Topic.CLICKS, [Record("s", b"small"), large]),
                return_exceptions=True,
            )
        finally:
            await writer.close()

    first, *others, last = asyncio.run(append_all())
    assert isinstance(first, RecordTooLarge)
    assert isinstance(last, RecordTooLarge)
    assert "record 1 of 2 for clicks has 1000005 bytes, expected at most 1000000" in str(last)
    assert all(isinstance(found, list) and len(found) == 1 for found in others)
    with pytest.raises(RecordTooLarge):
        log.writer().append(Topic.ITEMS, [large])
    log.writer().append(Topic.CLICKS, [Record("fits", b"x" * (log.settings.max_record_bytes - 4))])
