"""Change tables on a real Redis."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import StateConflict, StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.async_tables import AsyncTableReader
from state.embedded import EmbeddedRedis
from state.ports import free_port
from state.table_changes import Change, ChangesTrimmed
from state.tables import Source, TableReader, TableWriter
from tests.redis_cut import losing_what_is_written


def test_rows_changes_and_offset_move_together(redis_settings: RedisSettings) -> None:
    writer, reader = TableWriter(redis_settings, "items"), TableReader(redis_settings, "items")
    assert writer.commit({b"a": b"1", b"b": b"2"}, [b"z"], Source("items", 0, 0, 7)) == 3
    assert dict(next(reader.rows())) == {b"a": b"1", b"b": b"2"}
    assert reader.changes(0) == [Change(0, b"a", b"1"), Change(1, b"b", b"2"), Change(2, b"z", None)]
    assert reader.applied("items", 0) == 7
    assert reader.end() == 3


def test_a_batch_that_does_not_start_at_the_stored_offset_changes_nothing(redis_settings: RedisSettings) -> None:
    writer, reader = TableWriter(redis_settings, "items"), TableReader(redis_settings, "items")
    writer.commit({b"a": b"1"}, source=Source("items", 0, 0, 3))
    with pytest.raises(StateConflict, match="starts at 0, the stored offset is 3"):
        writer.commit({b"a": b"2"}, source=Source("items", 0, 0, 3))
    assert reader.get([b"a"]) == [b"1"]
    assert reader.end() == 1


def test_a_reader_that_fell_behind_the_kept_changes_is_told_to_load_again(redis_settings: RedisSettings) -> None:
    writer, reader = TableWriter(redis_settings, "t", kept_changes=1), TableReader(redis_settings, "t")
    for n in range(2000):
        writer.commit({b"a": b"%d" % n})
    with pytest.raises(ChangesTrimmed, match="wanted change 0"):
        reader.changes(0)


def test_a_reader_ahead_of_a_rolled_back_redis_is_told_to_load_again(redis_settings: RedisSettings) -> None:
    TableWriter(redis_settings, "t").commit({b"a": b"1"})
    with pytest.raises(ChangesTrimmed, match="waiting for change 5, but the table ends at 1"):
        TableReader(redis_settings, "t").changes(5)


async def test_readers_load_again_when_redis_may_have_given_their_changes_numbers_to_others(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        writer, reader, waiting = (kind(settings, "t") for kind in (TableWriter, TableReader, AsyncTableReader))
        assert (reader.begin(), await waiting.begin()) == (0, 0)
        with losing_what_is_written(server):
            writer.commit({b"a": b"1", b"b": b"1"})
            assert len(reader.changes(0)) == len(await waiting.changes(0)) == 2
        writer.commit({b"c": b"1", b"d": b"1", b"e": b"1"})
        for _ in range(2):
            with pytest.raises(ChangesTrimmed, match="the connection to Redis was lost since reading began"):
                reader.changes(2)
            with pytest.raises(ChangesTrimmed, match="the connection to Redis was lost since reading began"):
                await waiting.changes(2)
        assert (reader.begin(), await waiting.begin()) == (3, 3)
        assert reader.changes(3) == await waiting.changes(3) == []
        writer.commit({b"f": b"1"})
        assert reader.changes(3) == await waiting.changes(3) == [Change(3, b"f", b"1")]
        writer.close()
        reader.close()
        await waiting.close()


def test_a_writer_that_tells_says_once_that_redis_may_have_lost_its_last_writes(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        telling, other = TableWriter(settings, "t", tells=True), TableWriter(settings, "t")
        assert (telling.commit({b"a": b"1"}), other.commit({b"a": b"2"})) == (1, 2)
        with losing_what_is_written(server):
            telling.commit({b"a": b"3"})
        with pytest.raises(StateUnavailable, match="connection was lost, and with it perhaps what was"):
            telling.commit({b"a": b"4"})
        assert (telling.commit({b"a": b"4"}), other.commit({b"a": b"5"})) == (3, 4)
        telling.close()
        other.close()


async def test_the_event_loop_reader_sees_the_same(redis_settings: RedisSettings) -> None:
    TableWriter(redis_settings, "t").commit({b"a": b"1"}, [b"b"], Source("items", 2, 0, 4))
    reader = AsyncTableReader(redis_settings, "t")
    assert [slice_ async for slice_ in reader.rows()] == [[(b"a", b"1")]]
    assert await reader.changes(0) == [Change(0, b"a", b"1"), Change(1, b"b", None)]
    assert await reader.changes(2, block_ms=5) == []
    assert await reader.applied("items", [0, 2]) == {0: 0, 2: 4}
    assert await reader.end() == 2
    await reader.close()


def test_an_unreachable_redis_says_where_it_was_looked_for() -> None:
    port = free_port()
    reader = TableReader(RedisSettings(url=f"redis://127.0.0.1:{port}/0"), "t")
    with pytest.raises(StateUnavailable, match=f"127.0.0.1:{port}.*check that it runs"):
        reader.end()


READS = st.tuples(st.integers(0, 70), st.integers(1, 90))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(any), min_size=1, max_size=4),
    st.lists(READS, min_size=1, max_size=3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_reading_of_any_commits_sees_every_change_once_and_in_order(
    redis_settings: RedisSettings, commits: list[tuple[int, int]], reads: list[tuple[int, int]]
) -> None:
    table = uuid4().hex
    expected: list[Change] = []
    with closing(TableWriter(redis_settings, table)) as writer:
        for number, (puts, deletes) in enumerate(commits):
            rows = {b"p%d" % n: b"row %d of %d" % (n, number) for n in range(puts)}
            gone = [b"p%d" % n for n in range(100, 100 + deletes)]
            writer.commit(rows, gone)
            told = [*rows.items(), *((key, None) for key in gone)]
            expected += [Change(len(expected) + at, key, row) for at, (key, row) in enumerate(told)]

    async def seen() -> list[list[Change]]:
        reader = AsyncTableReader(redis_settings, table)
        found = [await reader.changes(since, count=count) for since, count in reads]
        await reader.close()
        return found

    reads = [(min(since, len(expected)), count) for since, count in reads]
    wanted = [expected[since : since + count] for since, count in reads]
    with closing(TableReader(redis_settings, table)) as reader:
        assert [reader.changes(since, count=count) for since, count in reads] == wanted
        assert reader.end() == len(expected)
    assert asyncio.run(seen()) == wanted


def test_several_changes_share_an_entry_of_the_stream(redis_settings: RedisSettings) -> None:
    with closing(TableWriter(redis_settings, "t")) as writer, redis.Redis.from_url(redis_settings.url) as client:
        writer.commit({b"%d" % n: b"row" for n in range(40)}, [b"a", b"b", b"c"])
        assert client.xlen(Keys(redis_settings.prefix).table_changes("t")) == 4


def test_as_many_changes_are_kept_as_were_asked_for_however_they_were_committed(redis_settings: RedisSettings) -> None:
    with (
        closing(TableWriter(redis_settings, "t", kept_changes=50)) as writer,
        closing(TableReader(redis_settings, "t")) as reader,
        redis.Redis.from_url(redis_settings.url) as client,
    ):
        for n in range(300):
            end = writer.commit({b"%d" % at: bytes(400) for at in range(1 + 39 * (n % 2))})
        assert len(reader.changes(end - 50)) == 50
        assert client.xlen(Keys(redis_settings.prefix).table_changes("t")) < 200


def test_a_row_that_is_none_is_a_fault_of_ours_and_no_outage(redis_settings: RedisSettings) -> None:
    with closing(TableWriter(redis_settings, "t")) as writer:
        with pytest.raises(redis.DataError):
            writer.commit({b"a": [b"row"]})
        assert writer.commit({b"a": b"row"}) == 1


async def test_waiting_for_changes_ends_before_the_time_limit_for_answers(redis_settings: RedisSettings) -> None:
    hasty = redis_settings.model_copy(update={"timeout_ms": 400})
    with closing(TableReader(hasty, "t")) as reader:
        assert reader.changes(0, block_ms=5000) == []
    following = AsyncTableReader(hasty, "t")
    assert await following.changes(0, block_ms=5000) == []
    await following.close()


@pytest.mark.parametrize("left", [None, b"0", b"3", b"odd"])
def test_a_lost_counter_loses_no_row_and_no_offset_moves_without_its_rows(
    redis_settings: RedisSettings, left: bytes | None
) -> None:
    """The number of the next change would be one that the stream had before: Redis refuses it."""
    keys = Keys(redis_settings.prefix)
    writer, reader = TableWriter(redis_settings, "items"), TableReader(redis_settings, "items")
    for at in range(40):
        writer.commit({b"%d" % at: b"old"}, source=Source("items", 0, at, at + 1))
    with closing(redis.Redis.from_url(redis_settings.url)) as client:
        client.delete(keys.table_end("items"))
        if left is not None:
            client.set(keys.table_end("items"), left)

    put = {b"new-%d" % at: b"row" for at in range(50)}
    assert writer.commit(put, [b"0", b"1", b"2"], Source("items", 0, 40, 41)) == 93

    rows = dict(row for part in reader.rows() for row in part)
    assert len(rows) == 40 + 50 - 3
    assert reader.applied("items", 0) == 41
    assert reader.end() == 93
    assert [change.key for change in reader.changes(90)] == [b"0", b"1", b"2"]


def test_an_entry_that_tells_of_more_changes_than_it_holds_is_refused_without_room_for_them(
    redis_settings: RedisSettings,
) -> None:
    keys = Keys(redis_settings.prefix)
    TableWriter(redis_settings, "t").commit({b"a": b"1"})
    with closing(redis.Redis.from_url(redis_settings.url)) as client:
        client.xadd(keys.table_changes("t"), {b"delete": b"1000000000000", b"a": b"b"}, id="1-1")
        client.incr(keys.table_end("t"))
    with pytest.raises(ChangesTrimmed, match="is no change"):
        TableReader(redis_settings, "t").changes(1)


def test_changes_are_bounded_in_bytes_however_few_they_are(redis_settings: RedisSettings) -> None:
    writer = TableWriter(redis_settings, "t", kept_bytes=1_600_000)
    reader = TableReader(redis_settings, "t")
    for n in range(100):
        writer.commit({b"%d" % n: bytes(100_000)})
    with redis.Redis.from_url(redis_settings.url) as client:
        assert 16 <= client.xlen(Keys(redis_settings.prefix).table_changes("t")) <= 18
    with pytest.raises(ChangesTrimmed):
        reader.changes(80)
    assert [change.number for change in reader.changes(90)] == list(range(90, 100))


def test_the_bytes_of_all_rows_are_counted_where_that_is_wanted_and_those_of_before_too(
    redis_settings: RedisSettings,
) -> None:
    TableWriter(redis_settings, "t").commit({b"a": b"12", b"b": b"345"})
    reader, counting = TableReader(redis_settings, "t"), TableWriter(redis_settings, "t", counts_bytes=True)
    assert reader.extent() == (2, 0)
    reader.measure()
    reader.measure()
    assert reader.extent() == (2, 5)
    counting.commit({b"a": b"1234567", b"c": b"1"}, [b"b", b"never there"])
    assert reader.extent() == (2, 8)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from([b"%d" % n for n in range(40)]), st.binary(max_size=50), max_size=40),
            st.lists(st.sampled_from([b"%d" % n for n in range(40)]), max_size=40, unique=True),
        ),
        max_size=8,
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_the_bytes_counted_are_those_of_the_rows(
    redis_settings: RedisSettings, commits: list[tuple[dict[bytes, bytes], list[bytes]]]
) -> None:
    own = redis_settings.model_copy(update={"prefix": f"t{uuid4().hex[:12]}"})
    writer, reader = TableWriter(own, "t", counts_bytes=True), TableReader(own, "t")
    for puts, deletes in commits:
        writer.commit(puts, deletes)
    rows = dict(pair for page in reader.rows() for pair in page)
    assert reader.extent() == (len(rows), sum(map(len, rows.values())))
    writer.close()
    reader.close()
