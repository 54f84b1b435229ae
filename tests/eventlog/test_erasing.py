"""Records that are emptied where they stand: readers pass them by, offsets and what others did stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.erasing import RedisLogEraser, holds_any
from eventlog.open_log import open_dead_letters, open_reader, open_writer
from state.client import connect
from state.rewriting import AT_ONCE

LOG = LogSettings(partitions=1)


@pytest.fixture
def eraser(redis_settings: RedisSettings) -> Iterator[RedisLogEraser]:
    opened = RedisLogEraser(LOG, redis_settings)
    yield opened
    opened.close()


def append(redis: RedisSettings, *values: bytes) -> None:
    writer = open_writer(LOG, redis)
    writer.append(Topic.CLICKS, [Record("s", value) for value in values])
    writer.close()


def read(redis: RedisSettings, start: int = 0) -> list[tuple[int, int, list[tuple[int, bytes]]]]:
    reader = open_reader(LOG, redis, Topic.CLICKS, [0], "test")
    reader.seek(0, start)
    found = reader.poll(10_000, 0.0)
    reader.close()
    return [(batch.start, batch.next, [tuple(one) for one in batch.messages]) for batch in found]


def test_an_emptied_record_keeps_its_offset_and_is_passed_by(
    redis_settings: RedisSettings, eraser: RedisLogEraser
) -> None:
    append(redis_settings, b"a0", b"b1", b"a2", b"b3")
    assert eraser.ends() == {"clicks:0": 4, "impressions:0": 0}
    mine = [one.offset for one in eraser.records(Topic.CLICKS, 0, holds_any([b"a"]))]
    assert mine == [0, 2]
    eraser.empty(Topic.CLICKS, 0, mine)
    assert read(redis_settings) == [(0, 4, [(1, b"b1"), (3, b"b3")])]
    append(redis_settings, b"a4")
    assert read(redis_settings, 2) == [(2, 5, [(3, b"b3"), (4, b"a4")])]


def test_redis_and_this_process_find_the_same_records(redis_settings: RedisSettings, eraser: RedisLogEraser) -> None:
    values = [b'{"user_id":"an-%d"}' % (n % 7) if n % 5 else b'{"user_id":"\\u0061n-3"}' for n in range(1300)]
    append(redis_settings, *values)
    wanted = holds_any([b'"an-3"', b"-6"])
    found = list(eraser.records(Topic.CLICKS, 0, wanted))
    assert found == list(eraser.records(Topic.CLICKS, 0, wanted.__call__))
    assert [one.offset for one in found] == [at for at, value in enumerate(values) if wanted(value)]
    assert len(found) > 500


def test_a_partition_of_emptied_records_is_read_to_its_end(
    redis_settings: RedisSettings, eraser: RedisLogEraser
) -> None:
    append(redis_settings, b"a0", b"a1")
    eraser.empty(Topic.CLICKS, 0, [0, 1])
    assert read(redis_settings) == [(0, 2, [])]
    append(redis_settings, b"b2")
    assert read(redis_settings, 2) == [(2, 3, [(2, b"b2")])]


def test_nothing_of_an_emptied_record_is_left_in_what_redis_writes_down(
    redis_settings: RedisSettings, eraser: RedisLogEraser
) -> None:
    append(redis_settings, b"secret-name", b"other")
    stream = Keys(redis_settings.prefix).log(Topic.CLICKS, 0)
    with connect(redis_settings) as client:
        assert b"secret-name" in client.dump(stream)
        eraser.empty(Topic.CLICKS, 0, [0])
        assert b"secret-name" not in client.dump(stream)
        assert b"other" in client.dump(stream)
        assert not client.exists(Keys(redis_settings.prefix).rewriting(stream))


def test_records_that_come_while_a_partition_is_written_again_are_all_there(redis_settings: RedisSettings) -> None:
    append(redis_settings, *(b"a%d" % n for n in range(3 * AT_ONCE)))
    slices = iter(range(10_000))

    def meanwhile(_: float) -> None:
        append(redis_settings, b"new-%d" % next(slices))

    eraser = RedisLogEraser(LOG, redis_settings, sleep=meanwhile)
    eraser.empty(Topic.CLICKS, 0, range(3 * AT_ONCE))
    eraser.close()
    came = next(slices)
    assert came >= 3
    end = 3 * AT_ONCE + came
    assert read(redis_settings) == [(0, end, [(3 * AT_ONCE + n, b"new-%d" % n) for n in range(came)])]


def test_a_reader_that_waits_gets_what_comes_after_the_exchange(
    redis_settings: RedisSettings, eraser: RedisLogEraser
) -> None:
    append(redis_settings, b"a0", b"b1")
    reader = open_reader(LOG, redis_settings, Topic.CLICKS, [0], "test")
    reader.seek(0, 2)
    came: list[tuple[int, bytes]] = []
    thread = threading.Thread(
        target=lambda: came.extend(tuple(one) for batch in reader.poll(10, 30.0) for one in batch.messages)
    )
    thread.start()
    eraser.empty(Topic.CLICKS, 0, [0])
    append(redis_settings, b"b2")
    thread.join(60)
    reader.close()
    assert came == [(2, b"b2")]


def test_a_copy_that_a_kill_left_is_begun_anew(redis_settings: RedisSettings, eraser: RedisLogEraser) -> None:
    append(redis_settings, b"a0", b"b1")
    with connect(redis_settings) as client:
        keys = Keys(redis_settings.prefix)
        client.xadd(keys.rewriting(keys.log(Topic.CLICKS, 0)), {"v": b"half"}, id="7-1")
    eraser.empty(Topic.CLICKS, 0, [0])
    assert read(redis_settings) == [(0, 2, [(1, b"b1")])]


def test_dead_letters_are_taken_out_and_are_in_no_memory_of_redis(
    redis_settings: RedisSettings, eraser: RedisLogEraser
) -> None:
    writer = open_writer(LOG, redis_settings)
    writer.dead_letter([DeadLetter("gateway", 0, "invalid", "d", 1, raw) for raw in (b"secret-name", b"other")])
    eraser.remove_letters(eraser.letters(lambda letter: b"secret-name" in letter.raw))
    with connect(redis_settings) as client:
        assert b"secret-name" not in client.dump(Keys(redis_settings.prefix).dead_letters(0))
    writer.dead_letter([DeadLetter("gateway", 0, "invalid", "d", 2, b"third")])
    writer.close()
    letters = open_dead_letters(LOG, redis_settings)
    assert [one.raw for one in letters.read(10)] == [b"other", b"third"]
    letters.close()


@settings(max_examples=25)
@given(mine=st.lists(st.booleans(), min_size=1, max_size=40), start=st.integers(0, 40))
def test_what_is_read_is_what_was_there_less_what_was_emptied(
    redis_server: object, mine: list[bool], start: int
) -> None:
    import uuid

    redis = RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000)  # type: ignore[attr-defined]
    append(redis, *(b"r%d" % n for n in range(len(mine))))
    eraser = RedisLogEraser(LOG, redis)
    eraser.empty(Topic.CLICKS, 0, [at for at, gone in enumerate(mine) if gone])
    eraser.close()
    start = min(start, len(mine))
    expected = [(at, b"r%d" % at) for at, gone in enumerate(mine) if not gone and at >= start]
    assert read(redis, start) == ([(start, len(mine), expected)] if start < len(mine) else [])
