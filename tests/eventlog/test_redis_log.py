"""What only the Redis log promises: bounded length, nothing unapplied trimmed, a backlog with a limit."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import LogFull, LogUnavailable, OffsetTrimmed
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog import redis_dead_letters
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.redis_dead_letters import RedisDeadLetters
from eventlog.redis_log import RedisLogReader, RedisLogWriter
from state.embedded import EmbeddedRedis
from tests.eventlog.logs import lose_the_last_records

pytestmark = pytest.mark.usefixtures("redis_family")

NODE = 500  # entries in one node of a stream: the grain of trimming


def records(count: int) -> list[Record]:
    return [Record("anna", b"click")] * count


@pytest.fixture
def client(redis_settings: RedisSettings) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(redis_settings.url)
    yield opened
    opened.close()


def test_the_backlog_limit_refuses_a_batch_whole_and_says_what_to_do(redis_settings: RedisSettings) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, max_backlog=10), redis_settings)
    reader = RedisLogReader(redis_settings, Topic.CLICKS, [0], "sessions")
    writer.append(Topic.CLICKS, records(10))

    with pytest.raises(LogFull, match="10 records wait to be applied, the limit is 10: retry later"):
        writer.append(Topic.CLICKS, records(3))
    assert reader.ends()[0] == 10

    reader.commit(0, 1)
    assert [position.offset for position in writer.append(Topic.CLICKS, records(1))] == [10]
    writer.close()
    reader.close()


def test_only_clicks_that_the_session_path_has_not_applied_count_as_backlog(redis_settings: RedisSettings) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, max_backlog=5), redis_settings)
    trends = RedisLogReader(redis_settings, Topic.CLICKS, [0], "trends")
    writer.append(Topic.ITEMS, records(20))
    writer.append(Topic.IMPRESSIONS, records(20))
    writer.append(Topic.CLICKS, records(5))
    trends.commit(0, 5)

    with pytest.raises(LogFull):
        writer.append(Topic.CLICKS, records(1))
    assert [p.offset for p in writer.append(Topic.ITEMS, records(1))] == [20]
    writer.close()
    trends.close()


def test_applied_records_are_trimmed_to_the_number_kept(redis_settings: RedisSettings, client: redis.Redis) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, kept_records=1000), redis_settings)
    reader = RedisLogReader(redis_settings, Topic.CLICKS, [0], "sessions")
    for _ in range(20):
        end = writer.append(Topic.CLICKS, records(500))[-1].offset + 1
        reader.commit(0, end)

    assert 1000 <= client.xlen(Keys(redis_settings.prefix).log("clicks", 0)) <= 1000 + 2 * NODE
    assert reader.ends()[0] == 10_000
    assert 8000 <= reader.earliest()[0] <= 9000
    writer.close()
    reader.close()


def test_impressions_are_bounded_whoever_reads_them(redis_settings: RedisSettings, client: redis.Redis) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, kept_records=1000), redis_settings)
    for _ in range(20):
        writer.append(Topic.IMPRESSIONS, records(500))

    assert client.xlen(Keys(redis_settings.prefix).log("impressions", 0)) <= 1000 + 2 * NODE
    writer.close()


def test_a_reader_that_fell_behind_the_trimming_is_told_where_the_log_begins(redis_settings: RedisSettings) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, kept_records=100), redis_settings)
    reader = RedisLogReader(redis_settings, Topic.IMPRESSIONS, [0], "trends")
    for _ in range(10):
        writer.append(Topic.IMPRESSIONS, records(500))
    oldest = reader.earliest()[0]
    assert 4000 <= oldest <= 4900

    with pytest.raises(OffsetTrimmed) as trimmed:
        reader.poll(10, 0.0)
    assert (trimmed.value.topic, trimmed.value.partition, trimmed.value.wanted) == ("impressions", 0, 0)
    assert trimmed.value.earliest == oldest

    writer.append(Topic.IMPRESSIONS, records(1))
    reader.seek(0, trimmed.value.earliest)
    assert sum(len(batch.messages) for batch in reader.poll(10_000, 1.0)) == 5001 - oldest
    writer.close()
    reader.close()


def test_a_reader_that_does_nothing_while_redis_restarts_is_told_that_the_log_lost_its_last_records(
    tmp_path: Path,
) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis_settings = RedisSettings(url=server.url, timeout_ms=60_000)
        writer = RedisLogWriter(LogSettings(partitions=1), redis_settings)
        reader = RedisLogReader(redis_settings, Topic.CLICKS, [0], "trends")
        writer.append(Topic.CLICKS, records(10))
        assert [batch.next for batch in reader.poll(100, 0.0)] == [10]
        lose_the_last_records(redis_settings, 1, 5)
        server.kill()
        server.start()
        for _ in range(2):  # until it is told where to go on
            with pytest.raises(OffsetTrimmed):
                reader.poll(100, 0.0)
        reader.seek(0, 5)
        assert reader.poll(100, 0.0) == []
        writer.close()  # its connection is gone
        writer = RedisLogWriter(LogSettings(partitions=1), redis_settings)
        writer.append(Topic.CLICKS, records(2))
        assert [(batch.start, batch.next) for batch in reader.poll(100, 0.0)] == [(5, 7)]
        writer.close()
        reader.close()


def test_a_reader_goes_on_where_it_was_when_redis_comes_back_whole(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        redis_settings = RedisSettings(url=server.url, timeout_ms=60_000)
        writer = RedisLogWriter(LogSettings(partitions=1), redis_settings)
        reader = RedisLogReader(redis_settings, Topic.CLICKS, [0], "trends")
        writer.append(Topic.CLICKS, records(10))
        assert [batch.next for batch in reader.poll(4, 0.0)] == [4]
        server.kill()
        server.start()
        assert [(batch.start, batch.next) for batch in reader.poll(100, 0.0)] == [(4, 10)]
        writer.close()
        reader.close()


def test_trimming_under_a_reader_that_had_started_is_noticed_too(redis_settings: RedisSettings) -> None:
    writer = RedisLogWriter(LogSettings(partitions=1, kept_records=100), redis_settings)
    reader = RedisLogReader(redis_settings, Topic.IMPRESSIONS, [0], "trends")
    writer.append(Topic.IMPRESSIONS, records(10))
    assert len(reader.poll(5, 0.0)[0].messages) == 5
    for _ in range(10):
        writer.append(Topic.IMPRESSIONS, records(500))

    with pytest.raises(OffsetTrimmed, match="wanted offset 5"):
        reader.poll(10, 0.0)
    writer.close()
    reader.close()


steps = st.lists(st.tuples(st.integers(1, 400), st.floats(0, 1)), min_size=1, max_size=25)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps, kept=st.sampled_from([0, 300, 1500]))
def test_nothing_that_is_not_applied_is_ever_trimmed(
    redis_settings: RedisSettings, client: redis.Redis, steps: list[tuple[int, float]], kept: int
) -> None:
    """Whatever is appended and applied in whatever steps: all that is not applied is there, and not much more."""
    here = redis_settings.model_copy(update={"prefix": f"h{uuid.uuid4().hex[:12]}"})
    writer = RedisLogWriter(LogSettings(partitions=1, kept_records=kept, max_backlog=10**6), here)
    reader = RedisLogReader(here, Topic.CLICKS, [0], "sessions")
    end = applied = 0
    for count, share in steps:
        writer.append(Topic.CLICKS, [Record("anna", str(end + at).encode()) for at in range(count)])
        end += count

        reader.seek(0, applied)
        batches = reader.poll(10**6, 0.0)
        assert [message.value for batch in batches for message in batch.messages] == [
            str(offset).encode() for offset in range(applied, end)
        ]
        assert reader.earliest()[0] <= min(applied, max(0, end - kept))

        assert client.xlen(Keys(here.prefix).log("clicks", 0)) <= max(end - applied, kept) + 2 * NODE
        applied += int(share * (end - applied))
        reader.commit(0, applied)
    writer.close()
    reader.close()


sources = st.lists(st.lists(st.integers(0, 15), max_size=6), max_size=12)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batches=sources)
def test_the_same_record_becomes_a_dead_letter_once_in_whatever_order(
    redis_settings: RedisSettings, batches: list[list[int]]
) -> None:
    here = redis_settings.model_copy(update={"prefix": f"h{uuid.uuid4().hex[:12]}"})
    log = LogSettings(partitions=2)
    writer, reader = RedisLogWriter(log, here), RedisDeadLetters(log, here)
    for offsets in batches:
        writer.dead_letter([DeadLetter(f"clicks:1:{n}", 1, "late", "", 5, b"raw") for n in offsets])

    found = [letter.source for letter in reader.read(1000)]
    assert sorted(found) == sorted({f"clicks:1:{n}" for offsets in batches for n in offsets})
    assert reader.count() == len(found)
    writer.close()
    reader.close()


def test_dead_letters_are_bounded_and_so_is_the_memory_of_their_sources(
    redis_settings: RedisSettings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_dead_letters, "KEPT_LETTERS", 100)
    log = LogSettings(partitions=1)
    writer, reader = RedisLogWriter(log, redis_settings), RedisDeadLetters(log, redis_settings)
    for start in range(0, 300, 50):
        writer.dead_letter([DeadLetter(f"clicks:0:{start + n}", 0, "late", "", start + n, b"") for n in range(50)])

    assert reader.count() == 100
    assert [letter.source for letter in reader.read(2)] == ["clicks:0:298", "clicks:0:299"]
    assert client.zcard(Keys(redis_settings.prefix).log("dead", 0)) == 100
    writer.dead_letter([DeadLetter("clicks:0:200", 0, "late", "", 1, b"")])  # the oldest of those kept
    assert reader.count() == 100
    writer.close()
    reader.close()


def test_an_append_goes_on_after_redis_forgot_its_scripts(redis_settings: RedisSettings, client: redis.Redis) -> None:
    writer = RedisLogWriter(LogSettings(partitions=4), redis_settings)
    writer.append(Topic.CLICKS, records(1))
    client.script_flush()

    positions = writer.append(Topic.CLICKS, [Record(f"s{n}", b"x") for n in range(20)])

    assert len({position.partition for position in positions}) == 4
    writer.close()


def test_a_redis_that_refuses_to_write_is_an_unavailable_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedRedis(tmp_path_factory.mktemp("full")) as server, redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1")
        writer = RedisLogWriter(LogSettings(partitions=1), RedisSettings(url=server.url, timeout_ms=60_000))
        with pytest.raises(LogUnavailable, match=r"could not append to clicks.*OOM"):
            writer.append(Topic.CLICKS, records(1))
        writer.close()


def test_a_redis_that_does_not_answer_is_an_unavailable_log_in_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedRedis(tmp_path_factory.mktemp("stuck")) as server:
        writer = RedisLogWriter(LogSettings(partitions=1), RedisSettings(url=server.url, timeout_ms=200))
        append_in_time(writer)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(LogUnavailable, match="within 200 ms"):  # it stays stopped until then
                writer.append(Topic.CLICKS, records(1))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        append_in_time(writer)
        writer.close()


def append_in_time(writer: RedisLogWriter) -> None:
    """Append, whatever a busy machine's Redis needs: the writer gives each attempt little time."""
    until = time.monotonic() + 60
    while True:
        try:
            writer.append(Topic.CLICKS, records(1))
            return
        except LogUnavailable:
            assert time.monotonic() < until


def test_the_password_of_redis_is_not_told() -> None:
    writer = RedisLogWriter(LogSettings(partitions=1), RedisSettings(url="redis://me:secret@127.0.0.1:1/0"))
    with pytest.raises(LogUnavailable) as error:
        writer.append(Topic.CLICKS, records(1))
    assert "127.0.0.1:1" in str(error.value)
    assert "secret" not in str(error.value)
    writer.close()
