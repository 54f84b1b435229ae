"""A change table of several shards: rows by a hash of their key, each shard a change table of its own in its own slot.

Each shard keeps how far it took the log in. A commit that dies between two shards leaves them at different offsets; the
next one gives each what it lacks, so nothing is lost, doubled, or taken back to what it was. Who follows has a place in
each shard, and is as new as a reader asks for once it is in every one.

A table of one shard is read and written as ever, by `state.tables` alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import StateConflict
from contracts.keys import CATALOGUE, Keys, shard_names
from contracts.redis_answers import WriteCheck, is_other_kind, whole
from contracts.settings import RedisSettings
from state.async_tables import AsyncTableReader
from state.client import connect, redis_errors_translated
from state.kept import expect_kept
from state.redis_rounds import RedisRounds
from state.table_layout import Layout
from state.table_scripts import COMMIT
from state.tables import (
    KEPT_BYTES,
    KEPT_CHANGES,
    Source,
    TableReader,
    TableWriter,
    commit_words,
    table_keys,
)

_SHA: Final = hashlib.sha1(COMMIT.encode()).hexdigest()
_HIGH: Final = 32
"""Bits of a key that do not say its shard. The others do, as the key is a hash."""


def shard_of(key: int, shards: int) -> int:
    """Return the shard of a row's key."""
    return (key >> _HIGH) % shards


def shards_of(keys: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """Return the shards of rows' keys (n,), (n,)."""
    found: NDArray[np.int64] = ((keys >> np.uint64(_HIGH)) % np.uint64(shards)).astype(np.int64)
    return found


def _shard_of_row(key: bytes, shards: int) -> int:
    return shard_of(int.from_bytes(key, "little"), shards)


class ShardedReader:
    """Reads a table of several shards, from a thread. `shards` are followed, each by itself."""

    def __init__(self, settings: RedisSettings, table: str, shards: int) -> None:
        self._settings = settings
        names = shard_names(table, shards)
        self.shards = tuple(TableReader(settings, name) for name in names)
        keys = Keys(settings.prefix)
        self._rows, self._progress, self._bytes = (
            [key(name) for name in names] for key in (keys.table_rows, keys.table_progress, keys.table_bytes)
        )
        self._redis = connect(settings)

    def extent(self) -> tuple[int, int]:
        """As `TableReader.extent`."""
        count = len(self.shards)
        asked = [*(("HLEN", key) for key in self._rows), *(("GET", key) for key in self._bytes)]
        answers = self._ask(asked)
        return sum(map(int, answers[:count])), sum(whole(one) or 0 for one in answers[count:])

    def measure(self) -> None:
        """As `TableReader.measure`."""
        for one in self.shards:
            one.measure()

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which keys (n,) have a row, (n,)."""
        held, of_shard = np.zeros(len(keys), np.bool_), shards_of(keys, len(self.shards))
        for shard, one in enumerate(self.shards):
            mine = np.flatnonzero(of_shard == shard)
            if len(mine):
                held[mine] = one.holds(keys[mine])
        return held

    def keys(self) -> NDArray[np.uint64]:
        """Return the keys of all rows, (n,), each once."""
        return np.sort(np.concatenate([one.keys() for one in self.shards]))

    def rows(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield all rows in slices."""
        for one in self.shards:
            yield from one.rows()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the named rows, in order."""
        places: list[list[int]] = [[] for _ in self.shards]
        for place, key in enumerate(keys):
            places[_shard_of_row(key, len(self.shards))].append(place)
        asked = [(shard, mine) for shard, mine in enumerate(places) if mine]
        answers = self._ask([("HMGET", self._rows[shard], *(keys[at] for at in mine)) for shard, mine in asked])
        found: list[bytes | None] = [None] * len(keys)
        for (_, mine), rows in zip(asked, answers, strict=True):
            for at, row in zip(mine, rows, strict=True):
                found[at] = row
        return found

    def size(self) -> int:
        """Return how many rows there are."""
        return sum(map(int, self._ask([("HLEN", key) for key in self._rows])))

    def places(self, topic: str, partition: int) -> tuple[int, ...]:
        """Return, of each shard, the next offset of a log partition that it takes in."""
        field = f"{topic}:{partition}"
        return tuple(whole(one) or 0 for one in self._ask([("HGET", key, field) for key in self._progress]))

    def applied(self, topic: str, partition: int) -> int:
        """Return the next offset of a log partition that not all shards have taken in."""
        return min(self.places(topic, partition))

    def close(self) -> None:
        self._redis.close()
        for one in self.shards:
            one.close()

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answers in one round trip; None about a key of numbers that holds another kind of thing."""
        if not commands:
            return []
        with redis_errors_translated(self._settings), self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = pipe.execute(raise_on_error=False)
            for at, answer in enumerate(answers):
                if isinstance(answer, Exception):
                    if not (is_other_kind(answer) and commands[at][0] in ("GET", "HGET")):
                        raise answer
                    answers[at] = None
        return answers


class ShardedWriter:
    """Writes a table of several shards, from a thread: one script a shard, all in one round trip."""

    def __init__(
        self,
        settings: RedisSettings,
        table: str,
        shards: int,
        *,
        kept_changes: int = KEPT_CHANGES,
        kept_bytes: int = KEPT_BYTES,
        counts_bytes: bool = False,
    ) -> None:
        """`kept_changes` and `kept_bytes` of all shards together. A lost connection is StateUnavailable once, as of a
        `TableWriter` that tells.
        """
        self._settings, self._shards = settings, shards
        self._kept = (-(-kept_changes // shards), -(-kept_bytes // shards), int(counts_bytes))
        self._keys = [table_keys(settings, name) for name in shard_names(table, shards)]
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        self._check = WriteCheck(settings.place)
        self._layout = Layout(settings, table)

    def claim(self) -> None:
        """Say in Redis how many shards the table has. Raises ShardsDiffer where it is stored as another number."""
        with redis_errors_translated(self._settings):
            self._layout.expect([self._redis.execute_command(*one) for one in self._layout.questions])
            self._redis.set(self._layout.key, self._shards, nx=True)

    def commit(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = (), source: Source | None = None) -> None:
        """Put and delete rows, and move each shard's offset of the source, which stands where `source.at` says. What a
        shard gets, it gets as a whole or not at all; a shard that has all of the source already gets nothing.

        Raises StateConflict when the stored offset of a shard is another one, with nothing written there; the others
        may have been. StateUnavailable: any of them may have been.
        """
        if source is not None and not any(source.at):
            self.claim()
        calls, told = [], []
        for shard, (mine, gone) in enumerate(self._split(puts, deletes)):
            own = None if source is None else replace(source, start=source.at[shard])
            if own.start >= own.next if own is not None else not (mine or gone):
                continue
            calls.append([len(self._keys[shard]), *self._keys[shard], *commit_words(self._kept, mine, gone, own)])
            told.append(own)
        with redis_errors_translated(self._settings):
            answers = self._rounds.scripts(_SHA, COMMIT, calls)
        refused = [int(number) for done, number in answers if not done]
        if refused:
            assert source is not None
            others = [max(at, source.next) for at in source.at]
            raise StateConflict(source.field, source.start, min(*refused, *others))
        if source is None:
            self.expect_kept()

    def _split(
        self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]
    ) -> list[tuple[dict[bytes, bytes], list[bytes]]]:
        parts: list[tuple[dict[bytes, bytes], list[bytes]]] = [({}, []) for _ in self._keys]
        for key, row in puts.items():
            parts[_shard_of_row(key, self._shards)][0][key] = row
        for key in deletes:
            parts[_shard_of_row(key, self._shards)][1].append(key)
        return parts

    def expect_kept(self) -> None:
        """As `TableWriter.expect_kept`."""
        expect_kept(self._redis, self._settings, self._check, "rows")

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()


CatalogueReader = TableReader | ShardedReader
CatalogueWriter = TableWriter | ShardedWriter


def catalogue_reader(settings: RedisSettings) -> CatalogueReader:
    """Return what reads the catalogue, of as many shards as it has."""
    shards = settings.shards(CATALOGUE)
    return TableReader(settings, CATALOGUE) if shards == 1 else ShardedReader(settings, CATALOGUE, shards)


def catalogue_writer(settings: RedisSettings, *, kept_changes: int = KEPT_CHANGES) -> CatalogueWriter:
    """Return what writes the catalogue, of as many shards as it has, and counts its bytes."""
    shards = settings.shards(CATALOGUE)
    if shards == 1:
        return TableWriter(settings, CATALOGUE, kept_changes=kept_changes, counts_bytes=True, tells=True)
    return ShardedWriter(settings, CATALOGUE, shards, kept_changes=kept_changes, counts_bytes=True)


def shard_readers(settings: RedisSettings, table: str, relay: str = "") -> list[AsyncTableReader]:
    """Return what follows each shard of a table from an event loop, by the relay at `relay` where there is one."""
    return [AsyncTableReader(settings, name, relay) for name in shard_names(table, settings.shards(table))]
