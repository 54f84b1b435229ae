"""A table of several shards: its keys, its reading, and who may open it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from contracts.errors import ShardsDiffer, StartupError
from contracts.ids import item_key
from contracts.keys import CATALOGUE, Keys, shard_names
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from state.client import connect
from state.presence import this_process
from state.redis_rounds import RedisRounds
from state.resharding import Moved
from state.resharding import reshard as reshard_by
from state.sessions import SessionReader
from state.shards import (
    ShardedReader,
    ShardedWriter,
    catalogue_reader,
    catalogue_writer,
    shard_of,
    shard_readers,
    shards_of,
)
from state.table_changes import ChangesTrimmed
from state.tables import Source, TableReader, TableWriter, table_keys

NAMES = [item_key(f"i{n}").to_bytes(8, "little") for n in range(200)]


def sharded(settings: RedisSettings, shards: int) -> RedisSettings:
    return settings.model_copy(update={"item_shards": shards})


def rows_of(settings: RedisSettings) -> dict[bytes, bytes]:
    with closing(catalogue_reader(settings)) as reader:
        return {key: row for page in reader.rows() for key, row in page}


@pytest.mark.parametrize("name", ["items", "items:0", "items:63", "trends"])
def test_all_keys_of_a_commit_lie_in_one_slot_of_a_cluster(name: str) -> None:
    tags = {re.fullmatch(r"nc:\{([^{}]+)\}:\w+", key)[1] for key in table_keys(RedisSettings(), name)}  # type: ignore[index]
    assert tags == {name}


def test_each_script_of_a_commit_touches_one_slot(redis_settings: RedisSettings) -> None:
    tags: list[set[str]] = []

    class Watched(RedisRounds):
        def scripts(self, sha: str, text: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
            for count, *words in calls:
                tags.append({re.search(r"\{(.+?)\}", key)[1] for key in words[:count]})  # type: ignore[index]
            return super().scripts(sha, text, calls)

    with closing(ShardedWriter(redis_settings, CATALOGUE, 3)) as table, closing(connect(redis_settings)) as client:
        table._rounds = Watched(client)
        table.commit(dict.fromkeys(NAMES, b"row"), (), Source(Topic.ITEMS, 0, 0, 1, (0, 0, 0)))
    assert tags == [{"items:0"}, {"items:1"}, {"items:2"}]


def test_one_shard_is_kept_under_the_names_that_tables_always_had(redis_settings: RedisSettings) -> None:
    assert shard_names(CATALOGUE, 1) == ["items"]
    with closing(catalogue_writer(redis_settings)) as table, closing(catalogue_reader(redis_settings)) as reader:
        assert (type(table), type(reader)) == (TableWriter, TableReader)
        table.claim()
        table.commit({b"12345678": b"row"})
    with closing(connect(redis_settings)) as client:
        prefix = redis_settings.prefix
        found = sorted(key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}:*"))
    assert found == [":{items}:bytes", ":{items}:changed", ":{items}:changes", ":{items}:end", ":{items}:rows"]


def test_rows_are_spread_evenly_and_alike_for_one_key_and_for_many() -> None:
    keys = np.array([item_key(f"i{n}") for n in range(3000)], np.uint64)
    spread = shards_of(keys, 3)
    assert spread.tolist() == [shard_of(int(key), 3) for key in keys]
    assert np.bincount(spread).tolist() == [1003, 974, 1023]


def test_a_sharded_table_is_read_as_one(redis_settings: RedisSettings) -> None:
    settings = sharded(redis_settings, 3)
    with closing(catalogue_writer(settings)) as table, closing(catalogue_reader(settings)) as reader:
        table.commit({key: b"row of " + key for key in NAMES})
        table.commit({}, NAMES[:50])
        assert rows_of(settings) == {key: b"row of " + key for key in NAMES[50:]}
        assert (reader.size(), reader.extent()) == (150, (150, 150 * 15))
        assert reader.get([NAMES[60], NAMES[3], NAMES[199]]) == [b"row of " + NAMES[60], None, b"row of " + NAMES[199]]
        keys = np.array([int.from_bytes(key, "little") for key in NAMES], np.uint64)
        assert reader.holds(keys).tolist() == [False] * 50 + [True] * 150
        assert reader.keys().tolist() == sorted(keys[50:].tolist())


async def test_a_view_tells_the_end_of_each_shard(redis_settings: RedisSettings) -> None:
    settings = sharded(redis_settings, 3)
    reader, table = SessionReader(settings, partitions=1), catalogue_writer(settings)
    assert (await reader.view("s")).catalogue_ends == (0, 0, 0)
    table.commit(dict.fromkeys(NAMES[:10], b"row"))
    view = await reader.view("s", "u")
    assert view.catalogue_ends == tuple(np.bincount(shards_of(_numbers(NAMES[:10]), 3), minlength=3).tolist())
    assert view.scenarios_ends == (0,)
    with closing(connect(settings)) as client:
        client.set(Keys(settings.prefix).table_end("items:1"), "many")
    assert (await reader.view("s")).catalogue_ends is None
    await reader.close()
    table.close()


def _numbers(keys: Sequence[bytes]) -> Any:
    return np.array([int.from_bytes(key, "little") for key in keys], np.uint64)


def test_changes_that_one_shard_no_longer_keeps_are_loaded_there(redis_settings: RedisSettings) -> None:
    settings = sharded(redis_settings, 3)
    mine = [key for key in NAMES if shard_of(int.from_bytes(key, "little"), 3) == 1]
    with closing(catalogue_writer(settings, kept_changes=9)) as table, closing(catalogue_reader(settings)) as reader:
        for _ in range(200):
            table.commit(dict.fromkeys(mine, b"row"))
        with pytest.raises(ChangesTrimmed):
            reader.shards[1].changes(0)
        assert reader.shards[0].changes(0) == []


@pytest.mark.parametrize(("stored", "wanted"), [(1, 3), (3, 1), (3, 8)])
async def test_another_number_of_shards_than_is_stored_is_refused(
    redis_settings: RedisSettings, stored: int, wanted: int
) -> None:
    with closing(catalogue_writer(sharded(redis_settings, stored))) as table:
        table.claim()
        table.commit(dict.fromkeys(NAMES[:9], b"row"))
    other = sharded(redis_settings, wanted)
    expected = (
        f"NEXTCLICK_REDIS__ITEM_SHARDS says {wanted}: set it to {stored}, or .* run `nextclick items shards {wanted}`"
    )
    with closing(catalogue_writer(other)) as table, pytest.raises(ShardsDiffer, match=expected):
        table.claim()
    with closing(catalogue_reader(other)) as reader, pytest.raises(ShardsDiffer, match=expected):
        reader.shards[0].begin()
    for one in shard_readers(other, CATALOGUE):
        with pytest.raises(ShardsDiffer, match=expected):
            await one.begin()
        await one.close()


def reshard(settings: RedisSettings, shards: int, progress: Callable[[str], None] = lambda _: None) -> Moved:
    return reshard_by(settings, shards, clock_ms=lambda: 1, sleep=lambda _: None, progress=progress)


def filled(settings: RedisSettings) -> dict[bytes, bytes]:
    with closing(catalogue_writer(settings)) as table:
        table.claim()
        at = (0,) * settings.item_shards
        table.commit({key: b"row of " + key for key in NAMES}, (), Source(Topic.ITEMS, 3, 0, 77, at))
    return rows_of(settings)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 8), (8, 3)])
def test_a_table_gets_another_number_of_shards_with_all_its_rows_and_offsets(
    redis_settings: RedisSettings, before: int, after: int
) -> None:
    old, new = sharded(redis_settings, before), sharded(redis_settings, after)
    rows = filled(old)
    assert reshard(redis_settings, after) == (before, after, 200)
    assert rows_of(new) == rows
    with closing(catalogue_reader(new)) as reader:
        assert reader.places(Topic.ITEMS, 3) == (77,) * after
        assert [one.begin() > 0 for one in reader.shards] == [True] * after
        assert reader.extent() == (200, 200 * 15)
    with closing(connect(new)) as client:
        tags = {re.search(r"\{(.+?)\}", key.decode())[1] for key in client.scan_iter(f"{new.prefix}:*:rows")}  # type: ignore[index]
    assert tags == set(shard_names(CATALOGUE, after))
    assert reshard(redis_settings, after) == (after, after, 200)


def test_no_shards_are_made_while_a_process_is_there_and_one_that_was_killed_is_forgotten(
    redis_settings: RedisSettings,
) -> None:
    filled(redis_settings)
    now_ms, key = [1_000_000], Keys(redis_settings.prefix).processes()
    there = this_process("gateway", 1000)
    with closing(connect(redis_settings)) as client:

        def say(at_ms: int) -> None:
            client.hset(key, there.name, there.model_copy(update={"at_ms": at_ms}).encoded())

        def beats(seconds: float) -> None:
            now_ms[0] += 5_000
            say(now_ms[0])

        say(now_ms[0])
        with pytest.raises(StartupError, match=f"found {there.name}: end them"):
            reshard_by(redis_settings, 3, clock_ms=lambda: now_ms[0], sleep=beats)
        slept: list[float] = []

        def is_silent(seconds: float) -> None:
            now_ms[0] += 5_000
            slept.append(seconds)

        moved = reshard_by(redis_settings, 3, clock_ms=lambda: now_ms[0], sleep=is_silent)
    assert (moved.rows, len(slept)) == (200, 5)


def test_no_shards_are_made_of_shards_that_stand_at_different_offsets(redis_settings: RedisSettings) -> None:
    settings = sharded(redis_settings, 3)
    rows = filled(settings)
    with closing(TableWriter(settings, "items:1")) as one:
        one.commit({}, (), Source(Topic.ITEMS, 3, 77, 78))
    with pytest.raises(StartupError, match="run the items flow with NEXTCLICK_REDIS__ITEM_SHARDS=3"):
        reshard(settings, 1)
    assert rows_of(settings) == rows


def test_a_move_that_was_killed_half_way_leaves_the_table_and_is_done_again(redis_settings: RedisSettings) -> None:
    rows = filled(redis_settings)

    def killed(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reshard(redis_settings, 3, progress=killed)
    assert rows_of(redis_settings) == rows
    with closing(TableWriter(redis_settings, "items:2")) as one:
        one.commit({b"left of"[:7] + b"x": b"a row that is no longer there"})
    assert reshard(redis_settings, 3).rows == 200
    assert rows_of(sharded(redis_settings, 3)) == rows


def test_the_shards_hold_together_what_a_table_may_keep_of_its_changes(redis_settings: RedisSettings) -> None:
    with closing(ShardedWriter(redis_settings, CATALOGUE, 3, kept_changes=10)) as table:
        assert table._kept[0] == 4
    with closing(ShardedReader(redis_settings, CATALOGUE, 3)) as reader:
        assert len(reader.shards) == 3
