"""Moving the catalogue from one number of shards to another, while nobody uses it.

The new shards are written beside the old ones and compared by the keys of their rows; then one key says which of them
are the table, and the old ones go. Whatever dies before that leaves the table as it was; after it, running it again
tidies up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple

import numpy as np

from contracts.errors import StartupError, StateUnavailable
from contracts.keys import CATALOGUE, Keys, shard_names
from contracts.redis_answers import whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.presence import SILENT_MS, processes_of
from state.shards import CatalogueReader, catalogue_reader, catalogue_writer
from state.tables import table_keys

MOST: Final = 64
"""Shards, as `redis.item_shards` allows."""
_LOOK_S: Final = 0.5


class Moved(NamedTuple):
    """What became of the table: shards before and after, and its rows."""

    before: int
    after: int
    rows: int


def reshard(
    settings: RedisSettings,
    shards: int,
    *,
    clock_ms: Callable[[], int],
    sleep: Callable[[float], None],
    progress: Callable[[str], None] = lambda _: None,
) -> Moved:
    """Give the catalogue so many shards; `progress` is told what is done. Running it again is safe.

    A process that was killed left its line in Redis: it is waited for, whether it says something (`SILENT_MS`).

    Raises StartupError, with nothing changed, while a process of this deployment is there, and where shards stand at
    different offsets of the log; StateUnavailable where Redis does not take or keep it, or the rows differ.
    """
    with closing(connect(settings)) as redis, redis_errors_translated(settings):
        _expect_nobody(redis, settings, clock_ms, sleep, progress)
        before = stored_shards(redis, settings)
        now = before
        for wanted in [shards] if 1 in (before, shards) else [1, shards]:  # shards of two numbers have names in common
            if wanted != now:
                _move(redis, settings, now, wanted, progress)
                now = wanted
        _tidy(redis, settings, now)
        with closing(catalogue_reader(_with(settings, now))) as reader:
            return Moved(before, now, reader.size())


def stored_shards(redis: Any, settings: RedisSettings) -> int:
    """Return how many shards the catalogue has in Redis."""
    return whole(redis.get(Keys(settings.prefix).table_shards(CATALOGUE))) or 1


def _expect_nobody(
    redis: Any,
    settings: RedisSettings,
    clock_ms: Callable[[], int],
    sleep: Callable[[float], None],
    progress: Callable[[str], None],
) -> None:
    began_ms, key = clock_ms(), Keys(settings.prefix).processes()
    first = {one.name: one.at_ms for one in processes_of(redis.hgetall(key), began_ms)[0]}
    while True:
        there = processes_of(redis.hgetall(key), clock_ms())[0]
        alive = sorted(one.name for one in there if one.at_ms != first.get(one.name))
        if alive:
            raise StartupError(
                f"expected nobody who uses the catalogue, found {', '.join(alive)}: end them, and run this again"
            )
        if clock_ms() - began_ms > SILENT_MS or all(clock_ms() - one.at_ms > SILENT_MS for one in there):
            return
        progress(f"looking whether {', '.join(sorted(one.name for one in there))} ended")
        sleep(_LOOK_S)


def _move(redis: Any, settings: RedisSettings, before: int, after: int, progress: Callable[[str], None]) -> None:
    offsets = _offsets(redis, settings, before)
    _delete(redis, settings, shard_names(CATALOGUE, after))  # of a run that was killed
    moved = 0
    with (
        closing(catalogue_reader(_with(settings, before))) as old,
        closing(catalogue_writer(_with(settings, after))) as writer,
        closing(catalogue_reader(_with(settings, after))) as new,
    ):
        for rows in old.rows():
            writer.commit(dict(rows))
            moved += len(rows)
            progress(f"{moved:,} rows moved")
        for name in shard_names(CATALOGUE, after):
            if offsets:
                redis.hset(Keys(settings.prefix).table_progress(name), mapping=offsets)
        _expect_same(old, new)
        writer.expect_kept()
        redis.set(Keys(settings.prefix).table_shards(CATALOGUE), after)
        writer.expect_kept()


def _expect_same(old: CatalogueReader, new: CatalogueReader) -> None:
    """Compare the keys of all rows, and so their count."""
    had, has = old.keys(), new.keys()
    if not np.array_equal(had, has):
        raise StateUnavailable(
            f"expected the {len(had):,} rows of the catalogue in the new shards, found {len(has):,}: the old ones "
            "stay; somebody writes the catalogue, or Redis lost a part: run this again"
        )


def _offsets(redis: Any, settings: RedisSettings, shards: int) -> Mapping[bytes, bytes]:
    """Return the offsets of the log that every shard stands at."""
    keys = Keys(settings.prefix)
    found = [redis.hgetall(keys.table_progress(name)) for name in shard_names(CATALOGUE, shards)]
    if any(one != found[0] for one in found):
        raise StartupError(
            f"the {shards} shards of the catalogue stand at different places of the log: run the items flow with "
            f"NEXTCLICK_REDIS__ITEM_SHARDS={shards} until it has caught up, end it, and run this again"
        )
    offsets: Mapping[bytes, bytes] = found[0]
    return offsets


def _tidy(redis: Any, settings: RedisSettings, shards: int) -> None:
    mine = set(shard_names(CATALOGUE, shards))
    every = {CATALOGUE, *shard_names(CATALOGUE, MOST)}
    _delete(redis, settings, sorted(every - mine))


def _delete(redis: Any, settings: RedisSettings, names: list[str]) -> None:
    for name in names:
        redis.unlink(*table_keys(settings, name))


def _with(settings: RedisSettings, shards: int) -> RedisSettings:
    return settings.model_copy(update={"item_shards": shards})
