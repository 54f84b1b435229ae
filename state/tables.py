"""Change tables: a hash of rows, a stream of their changes, bounded in changes and bytes, and a counter, written by one
script.

A reader loads (counter, then rows, then changes from the counter) and keeps following. Changes are absolute, so
seeing one twice does no harm. The catalogue and the trends are such tables. Each lies in one slot of a Redis Cluster;
one of several shards is as many such tables (`state.shards`).

A Redis that died with its machine comes back without its last changes, and gives their numbers to others. So a reader
whose connection was lost since it began loads again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import StateConflict
from contracts.keys import Keys
from contracts.redis_answers import WriteCheck, whole
from contracts.settings import RedisSettings
from state.client import Connections, answered, connect, redis_errors_translated
from state.holders import scanning
from state.kept import expect_kept
from state.table_changes import (
    Change,
    before,
    entries_of,
    expect_not_rolled_back,
    expect_same_connections,
    parse_changes,
)
from state.table_layout import Layout
from state.table_scripts import COMMIT, HOLDS, SCAN_KEYS

KEPT_CHANGES = 100_000
"""Changes kept for readers that follow. One that falls further behind loads the rows again."""

KEPT_BYTES = 64_000_000
"""Bytes of such changes, however few they are."""

SCAN = 1000
"""Rows, or changes, that are read at a time."""


@dataclass(frozen=True, slots=True)
class Source:
    """The log records that a commit comes from: it is refused unless `start` is the offset stored for them."""

    topic: str
    partition: int
    start: int
    next: int
    at: Sequence[int] = ()
    """Of a table of several shards, the offset stored in each: from there on it takes them."""

    @property
    def field(self) -> str:
        return f"{self.topic}:{self.partition}"


class TableWriter:
    """Writes one table, from a thread."""

    def __init__(
        self,
        settings: RedisSettings,
        table: str,
        *,
        kept_changes: int = KEPT_CHANGES,
        kept_bytes: int = KEPT_BYTES,
        counts_bytes: bool = False,
        tells: bool = False,
    ) -> None:
        """`counts_bytes` keeps the size of all rows together: see `TableReader.extent`. With `tells`, a lost connection
        is StateUnavailable once: for whoever commits what was read from the same Redis.
        """
        self._settings = settings
        self.connections = Connections(tells=tells)
        self._redis = connect(settings, self.connections)
        self._kept = (kept_changes, kept_bytes, int(counts_bytes))
        self._keys = table_keys(settings, table)
        self._commit = self._redis.register_script(COMMIT)
        self._check = WriteCheck(settings.place)
        self._layout = Layout(settings, table)

    def claim(self) -> None:
        """Before the first commit. Raises ShardsDiffer for a table that is stored as several shards."""
        with redis_errors_translated(self._settings):
            self._layout.expect([self._redis.execute_command(*one) for one in self._layout.questions])

    def commit(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = (), source: Source | None = None) -> int:
        """Put and delete rows, and move the source's offset, all or nothing. Returns the number of the next change.

        Without a source nobody would commit the same again, so it returns once Redis's own end cannot undo it.

        Raises StateConflict, with nothing written, when the source's stored offset is not its `start`;
        StateUnavailable when the rows were not taken, or may not be kept: commit them again.
        """
        with redis_errors_translated(self._settings):
            done, number = self._commit(keys=self._keys, args=commit_words(self._kept, puts, deletes, source))
        if not done:
            assert source is not None
            raise StateConflict(source.field, source.start, number)
        if source is None:
            self.expect_kept()
        return int(number)

    def commit_in(self, pipe: Any, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Put and delete rows as a part of somebody else's transaction; `expect_kept` is to be called after it."""
        self._commit(keys=self._keys, args=commit_words(self._kept, puts, deletes, None), client=pipe)

    def expect_kept(self) -> None:
        """Return once Redis's own end cannot undo what was committed. Raises StateUnavailable when it may."""
        expect_kept(self._redis, self._settings, self._check, "rows")

    def close(self) -> None:
        self._redis.close()


class TableReader:
    """Reads and follows one table, from a thread."""

    def __init__(self, settings: RedisSettings, table: str) -> None:
        self._settings = settings
        self._connections, self._begun = Connections(), 0
        self._redis = connect(settings, self._connections)
        for name in ("XREAD", "XREVRANGE"):
            self._redis.set_response_callback(name, lambda answer, **_: answer)  # the plain lists, as they came
        self._rows, self._changes, self._end, self._progress, *_, self._bytes = table_keys(settings, table)
        self._layout = Layout(settings, table)
        self._holds, self._scan_keys = map(self._redis.register_script, (HOLDS, SCAN_KEYS))

    @property
    def shards(self) -> tuple[TableReader, ...]:
        """What each shard is followed by: it has one."""
        return (self,)

    def begin(self) -> int:
        """As `end`, from which `changes` are then read on: they are refused once the connection was lost. Raises
        ShardsDiffer.
        """
        self._begun = 0
        with redis_errors_translated(self._settings):
            self._layout.expect([self._redis.execute_command(*one) for one in self._layout.questions])
        end = self.end()
        self._begun = self._connections.made
        return end

    def end(self) -> int:
        """Return the number that the next change gets."""
        end = answered(self._settings, lambda: self._redis.get(self._end))
        return end_of(end, lambda: answered(self._settings, lambda: self._redis.xrevrange(self._changes, count=1)))

    def extent(self) -> tuple[int, int]:
        """Return how many rows there are, and the bytes of all of them, where the writer counts those."""
        with redis_errors_translated(self._settings), self._redis.pipeline(transaction=False) as pipe:
            rows, size = pipe.hlen(self._rows).get(self._bytes).execute()
        return int(rows), whole(size) or 0

    def measure(self) -> None:
        """Count the bytes of rows that were written before anybody did. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            is_known = bool(self._redis.exists(self._bytes))
        if not is_known and self.size():
            total = sum(len(row) for page in self.rows() for _, row in page)
            with redis_errors_translated(self._settings):
                self._redis.set(self._bytes, total, nx=True)

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which keys (n,) have a row, (n,)."""
        packed, found = keys.astype("<u8").tobytes(), []
        with redis_errors_translated(self._settings):
            for at in range(0, len(packed), 8 * SCAN):
                found.append(self._holds(keys=[self._rows], args=[packed[at : at + 8 * SCAN]]))
        held: NDArray[np.bool_] = np.frombuffer(b"".join(found), np.uint8) == ord("1")
        return held

    def keys(self) -> NDArray[np.uint64]:
        """Return the keys of all rows, (n,), each once."""
        cursor, pages = b"0", list[bytes]()
        with scanning(self._settings, self._rows):
            while not pages or cursor != b"0":
                with redis_errors_translated(self._settings):
                    cursor, page = self._scan_keys(keys=[self._rows], args=[cursor, SCAN])
                pages.append(page)
        return np.unique(np.frombuffer(b"".join(pages), "<u8").astype(np.uint64))

    def rows(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield all rows in slices. Read `end()` before, and follow from there. Raises StateUnavailable also behind the
        last slice: where a slot of a cluster moved, rows were passed by.
        """
        cursor: int | None = None
        with scanning(self._settings, self._rows):
            while cursor != 0:
                with redis_errors_translated(self._settings):
                    cursor, found = self._redis.hscan(self._rows, cursor or 0, count=SCAN)
                yield list(found.items())

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the named rows, in order."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.hmget(self._rows, keys) if keys else []
        return list(found)

    def size(self) -> int:
        """Return how many rows there are."""
        with redis_errors_translated(self._settings):
            return int(self._redis.hlen(self._rows))

    def changes(self, since: int, block_ms: int | None = None, count: int = SCAN) -> list[Change]:
        """Return changes from number `since` on, at most `count`; wait up to `block_ms` when there is none.

        Raises ChangesTrimmed when `since` is no longer kept.
        """
        changes, is_all = self._read(since, block_ms, count)
        while not is_all:
            more, is_all = self._read(changes[-1].number + 1, None, count - len(changes))
            changes += more
        return changes

    def _read(self, since: int, block_ms: int | None, count: int) -> tuple[list[Change], bool]:
        entries, block = entries_of(count), waiting_ms(block_ms, self._settings)
        with redis_errors_translated(self._settings):
            found: Any = self._redis.xread({self._changes: before(since)}, count=entries, block=block)
        expect_same_connections(self._begun, self._connections.made)
        if not found:
            expect_not_rolled_back(since, self.end())
        return parse_changes(found, since, count)

    def places(self, topic: str, partition: int) -> tuple[int, ...]:
        """As `applied`, of each shard."""
        return (self.applied(topic, partition),)

    def applied(self, topic: str, partition: int) -> int:
        """Return the next offset of a log partition that this table takes in."""
        stored = answered(self._settings, lambda: self._redis.hget(self._progress, f"{topic}:{partition}"))
        return whole(stored) or 0

    def close(self) -> None:
        self._redis.close()


def commit_words(
    kept: tuple[int, int, int], puts: Mapping[bytes, bytes], deletes: Sequence[bytes], source: Source | None
) -> list[Any]:
    """Return what the script of a commit is told beside its keys. `kept`: changes, bytes of them, whether rows' bytes
    are counted.
    """
    where: list[Any] = [source.field, source.start, source.next] if source else ["", 0, 0]
    changes, *rest = kept
    return [*where, changes, len(puts), *rest, *(part for pair in puts.items() for part in pair), *deletes]


def table_keys(settings: RedisSettings, table: str) -> list[str]:
    """Return the keys that the script of a commit touches: all of one slot."""
    keys = Keys(settings.prefix)
    names = (keys.table_rows, keys.table_changes, keys.table_end, keys.table_progress)
    return [name(table) for name in (*names, keys.table_changed_bytes, keys.table_marks, keys.table_bytes)]


def waiting_ms(block_ms: int | None, settings: RedisSettings) -> int | None:
    """Return how long Redis may wait for changes: so long that its answer is still in time."""
    return None if block_ms is None else max(1, min(block_ms, settings.timeout_ms // 2))


def end_of(counter: Any, newest: Callable[[], Any]) -> int:
    """Return the number of the next change: what the counter says, and where it is lost or no number, the one behind
    the stream's newest entry, as the next commit will have it.
    """
    number = whole(counter)
    if number is not None:
        return number
    last = newest()
    return int(last[0][0].partition(b"-")[0]) + 1 if last else 0
