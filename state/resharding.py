"""Moving the catalogue from one number of shards to another, while nobody uses it.

The new shards are written beside the old ones and compared by the keys of their rows; then one key says which of them
are the table, and the old ones go. Whatever dies before that leaves the table as it was; after it, running it again
tidies up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from contracts.errors import StartupError, StateUnavailable
from contracts.keys import CATALOGUE, Keys, shard_names
from contracts.redis_answers import whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.presence import SILENT_MS, processes_of
from state.shards import CatalogueReader, catalogue_reader, catalogue_writer
from state.tables import table_keys

MOST = 64
"""Shards, as `redis.item_shards` allows."""


class Moved(NamedTuple):
    """What became of the table: shards before and after, and its rows."""

    before: int
    after: int
    rows: int


def reshard(
    settings: RedisSettings, shards: int, *, now_ms: int, progress: Callable[[int], None] = lambda _: None
) -> Moved:
    """Give the catalogue so many shards; `progress` is told rows moved. Running it again is safe.

    Raises StartupError, with nothing changed, while a process of this deployment is there, and where shards stand at
    different offsets of the log; StateUnavailable where Redis does not take or keep it, or the counts differ.
    """
    with closing(connect(settings)) as redis, redis_errors_translated(settings):
        _expect_nobody(redis, settings, now_ms)
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


def _expect_nobody(redis: Any, settings: RedisSettings, now_ms: int) -> None:
    there, _ = processes_of(redis.hgetall(Keys(settings.prefix).processes()), now_ms)
    names = sorted({one.name for one in there if now_ms - one.at_ms <= SILENT_MS})
    if names:
        raise StartupError(
            f"expected nobody who uses the catalogue, found {', '.join(names)}: end them (one that was killed is "
            f"forgotten after {SILENT_MS // 1000} s), and run this again"
        )


def _move(redis: Any, settings: RedisSettings, before: int, after: int, progress: Callable[[int], None]) -> None:
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
            progress(moved := moved + len(rows))
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
