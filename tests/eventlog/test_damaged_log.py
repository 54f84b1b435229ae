"""A log, or its dead letters, whose keys in Redis are damaged: what is appended goes on, and is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from contracts.errors import OffsetTrimmed
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.redis_dead_letters import RedisDeadLetters
from eventlog.redis_log import RedisLogReader, RedisLogWriter

LOG = LogSettings(partitions=1, max_backlog=100)


@pytest.fixture
def store(redis_settings: RedisSettings) -> Iterator[Any]:
    with redis.Redis.from_url(redis_settings.url) as client:
        yield client


def append(redis_settings: RedisSettings, value: bytes) -> int:
    with closing(RedisLogWriter(LOG, redis_settings)) as writer:
        return writer.append(Topic.CLICKS, [Record("s", value)])[0].offset


@pytest.mark.parametrize("end", [None, "", "a word", "nan", "0", "999999999999"])
def test_offsets_go_on_behind_the_newest_record_where_the_counter_is_damaged(
    redis_settings: RedisSettings, store: Any, end: str | None
) -> None:
    append(redis_settings, b"first")
    key = Keys(redis_settings.prefix).log_end(Topic.CLICKS, 0)
    if end is None:
        store.delete(key)
    else:
        store.set(key, end)
    assert append(redis_settings, b"second") == 1
    with closing(RedisLogReader(redis_settings, Topic.CLICKS, [0], "g")) as reader:
        [batch] = reader.poll(10, 0.0)
        assert [message.value for message in batch.messages] == [b"first", b"second"]
        assert dict(reader.ends()) == {0: 2}


def test_what_a_group_applied_counts_as_nothing_until_it_tells_it_again(
    redis_settings: RedisSettings, store: Any
) -> None:
    key = Keys(redis_settings.prefix).log_groups(Topic.CLICKS, 0)
    store.hset(key, "sessions", "a word")
    assert append(redis_settings, b"first") == 0
    store.delete(key)
    store.rpush(key, "a list")
    assert append(redis_settings, b"second") == 1
    with closing(RedisLogReader(redis_settings, Topic.CLICKS, [0], "sessions")) as reader:
        reader.commit(0, 2)
    assert store.hget(key, "sessions") == b"2"


def test_an_entry_that_is_no_record_is_passed_by(redis_settings: RedisSettings, store: Any) -> None:
    append(redis_settings, b"first")
    stream = Keys(redis_settings.prefix).log(Topic.CLICKS, 0)
    store.execute_command("XADD", stream, "0-7", "x", "somebody's")
    append(redis_settings, b"second")
    with closing(RedisLogReader(redis_settings, Topic.CLICKS, [0], "g")) as reader:
        [batch] = reader.poll(10, 0.0)
        assert [(message.offset, message.value) for message in batch.messages] == [(0, b"first"), (1, b"second")]
        store.execute_command("XADD", stream, "2-7", "x", "somebody's")
        with pytest.raises(OffsetTrimmed):
            reader.poll(10, 0.0)


def letter(reason: str) -> DeadLetter:
    return DeadLetter("gateway", 0, reason, "why", 5, b"raw")


def test_letters_are_written_and_shown_around_damaged_ones(redis_settings: RedisSettings, store: Any) -> None:
    keys = Keys(redis_settings.prefix)
    with (
        closing(RedisLogWriter(LOG, redis_settings)) as writer,
        closing(RedisDeadLetters(LOG, redis_settings)) as shown,
    ):
        writer.dead_letter([letter("late")])
        store.xadd(keys.dead_letters(0), {"x": "y"})
        store.set(keys.log_end("dead", 0), "nan")
        store.delete(keys.log("dead", 0))
        store.set(keys.log("dead", 0), "no set of sources")
        writer.dead_letter([letter("invalid")])
        assert [(one.reason, one.raw) for one in shown.read(10)] == [
            ("unreadable", b""),
            ("late", b"raw"),
            ("invalid", b"raw"),
        ]
        assert [kept.letter.reason for kept in shown.kept()] == ["late", "unreadable", "invalid"]
        store.delete(keys.dead_letters(0))
        store.set(keys.dead_letters(0), "no stream")
        assert (shown.read(10), shown.count(), list(shown.kept())) == ([], 0, [])
        writer.dead_letter([letter("invalid")])
        assert shown.count() == 1
