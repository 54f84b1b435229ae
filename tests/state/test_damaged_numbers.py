"""Counters and offsets in Redis that are none: taken for none by who reads, put right by who writes."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from contracts.keys import Keys
from contracts.redis_answers import whole
from contracts.settings import RedisSettings
from state.async_tables import AsyncTableReader
from state.read_progress import ReadProgress, StateWatch
from state.sessions import SessionReader, SessionStore
from state.table_changes import ChangesTrimmed
from state.tables import TableReader, TableWriter
from tests.damage import a_session


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (b"0", 0),
        (b"88121", 88121),
        (b"999999999999999", 999_999_999_999_999),
        *((odd, None) for odd in (None, b"", b"abc", b"-1", b"1.5", b"1e3", b"nan", b" 1", b"9" * 16, b"\xd9\xa3", 5)),
    ],
)
def test_a_number_of_ours_is_digits_that_a_double_holds(answer: object, number: int | None) -> None:
    assert whole(answer) == number


async def test_a_table_whose_counter_is_no_number_ends_behind_its_newest_change(redis_settings: RedisSettings) -> None:
    writer, reader, other = (make(redis_settings, "t") for make in (TableWriter, TableReader, AsyncTableReader))
    assert writer.commit({b"a": b"1", b"b": b"2"}) == 2
    key = Keys(redis_settings.prefix).table_end("t")
    with redis.Redis.from_url(redis_settings.url) as store:
        for damage in (lambda: store.set(key, "nan"), lambda: store.delete(key), lambda: store.rpush(key, "x")):
            damage()
            assert (reader.end(), await other.end()) == (2, 2)
            assert (reader.changes(2), await other.changes(2)) == ([], [])
        assert writer.commit({b"c": b"3"}) == 3
        assert store.get(key) == b"3"
    for opened in (writer, reader):
        opened.close()
    await other.close()


def test_a_change_that_is_missing_between_others_has_the_rows_loaded_again(redis_settings: RedisSettings) -> None:
    writer, reader = TableWriter(redis_settings, "t"), TableReader(redis_settings, "t")
    for key in (b"a", b"b", b"c"):
        writer.commit({key: b"row"})
    with redis.Redis.from_url(redis_settings.url) as store:
        store.xdel(Keys(redis_settings.prefix).table_changes("t"), "1-1")
    assert [change.key for change in reader.changes(0)] == [b"a"]
    with pytest.raises(ChangesTrimmed, match="wanted change 1, the oldest kept is 2"):
        reader.changes(1)
    writer.close()
    reader.close()


def commit(store: SessionStore, start: int, end: int) -> None:
    store.commit(0, start=start, next=end, watermark_ms=9, sessions=[a_session("s")], counts={"applied": 2})


@pytest.mark.parametrize("counter", ["a word", "9223372036854775807"])
def test_a_counter_that_cannot_be_raised_begins_again_and_keeps_no_session_from_being_written(
    redis_settings: RedisSettings, counter: str
) -> None:
    store, key = SessionStore(redis_settings, idle_gap_ms=60_000), Keys(redis_settings.prefix).progress(0)
    with redis.Redis.from_url(redis_settings.url) as client:
        client.hset(key, "applied", counter)
        commit(store, 0, 5)
    assert list(store.load(0, ["s"]).sessions) == ["s"]
    assert (store.progress(0).next_offset, store.progress(0).counts) == (5, {"applied": 2})
    store.close()


@pytest.mark.parametrize("kind", ["a word", "a list"])
async def test_an_offset_that_is_none_counts_as_0_and_the_next_commit_writes_it(
    redis_settings: RedisSettings, kind: str
) -> None:
    store, key = SessionStore(redis_settings, idle_gap_ms=60_000), Keys(redis_settings.prefix).progress(0)
    reader = SessionReader(redis_settings, partitions=1)
    commit(store, 0, 5)
    with redis.Redis.from_url(redis_settings.url) as client:
        _damage(client, key, kind)
    assert (store.load(0, ["s"]).next_offset, await reader.applied(0)) == (0, 0)
    view = await reader.view("s")
    assert (view.applied_offset, view.session is not None) == (0, True)
    commit(store, 0, 7)
    assert (store.load(0, []).next_offset, await reader.applied(0)) == (7, 7)
    await reader.close()
    store.close()


def _damage(client: Any, key: str, kind: str) -> None:
    if kind == "a list":
        client.delete(key)
        client.rpush(key, "x")
    else:
        client.hset(key, mapping={"next": "seven", "watermark": "nan"})


async def test_a_view_does_not_say_where_the_catalogue_ends_when_its_counter_is_no_number(
    redis_settings: RedisSettings,
) -> None:
    reader = SessionReader(redis_settings, partitions=1)
    assert (await reader.view("s")).catalogue_ends == (0,)
    with redis.Redis.from_url(redis_settings.url) as client:
        client.set(Keys(redis_settings.prefix).table_end("items"), "many")
    assert (await reader.view("s")).catalogue_ends is None
    await reader.close()


async def test_what_flows_tell_is_read_around_what_is_damaged(redis_settings: RedisSettings) -> None:
    flow, watch = ReadProgress(redis_settings, "trends", "clicks"), StateWatch(redis_settings, within_s=60)
    flow.tell({0: 17}, lost=3)
    with redis.Redis.from_url(redis_settings.url) as client:
        key = Keys(redis_settings.prefix).read_progress()
        client.hset(key, mapping={"trends:clicks:1": "x", "nobody": "5", b"\xff": "1", "a:b:c:d": "1", "a:b:-2": "1"})
    told = await watch.told()
    assert (told.reached, dict(told.lost)) == ({("trends", "clicks", 0): 17}, {("trends", "clicks"): 3})
    flow.close()
    await watch.close()
