"""Change tables on a real Redis."""

from __future__ import annotations

import pytest

from contracts.errors import StateConflict, StateUnavailable
from contracts.settings import RedisSettings
from state.ports import free_port
from state.tables import AsyncTableReader, Change, ChangesTrimmed, Source, TableReader, TableWriter


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
