"""Change tables: a hash of rows, a stream of their changes, bounded in changes and bytes, and a counter, written by one
script.

A reader loads (counter, then rows, then changes from the counter) and keeps following. Changes are absolute, so
seeing one twice does no harm. The catalogue and the trends are such tables.

A Redis that died with its machine comes back without its last changes, and gives their numbers to others. So a reader
whose connection was lost since it began loads again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import NextclickError, StateConflict
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, WriteCheck, is_other_kind, whole
from contracts.settings import RedisSettings
from state.client import Connections, answered, connect, redis_errors_translated
from state.kept import expect_kept
from state.redis_line import RedisLine, packed

KEPT_CHANGES = 100_000
"""Changes kept for readers that follow. One that falls further behind loads the rows again."""

KEPT_BYTES = 64_000_000
"""Bytes of such changes, however few they are."""

_SCAN = 1000

_COMMIT = (
    WHOLE_LUA
    + """
if ARGV[1] ~= '' then
  forget_other_kind(KEYS[4], 'hash')
  local stored = whole(redis.call('HGET', KEYS[4], ARGV[1])) or 0
  if stored ~= tonumber(ARGV[2]) then return {0, stored} end
end
local number = whole(redis.pcall('GET', KEYS[3])) or 0
local function add(what, count, parts)
  local id = string.format('%.0f-1', number + count - 1)
  return redis.pcall('XADD', KEYS[2], id, what, count, unpack(parts))
end
local function tell(what, count, parts)
  local told = add(what, count, parts)
  if told.err then
    local top = newest_of(KEYS[2])
    if not top or top < number then return told end
    number = top + 1
    told = add(what, count, parts)
    if told.err then return told end
  end
  number = number + count
end
local puts, counts = 2 * tonumber(ARGV[5]), ARGV[7] == '1'
for at = 8, puts + 7, 32 do
  local pairs = {unpack(ARGV, at, math.min(at + 31, puts + 7))}
  local refused = tell('put', #pairs / 2, pairs)
  if refused then return refused end
  if counts then
    local more = 0
    for i = 1, #pairs, 2 do more = more + #pairs[i + 1] - redis.call('HSTRLEN', KEYS[1], pairs[i]) end
    redis.call('INCRBY', KEYS[7], more)
  end
  redis.call('HSET', KEYS[1], unpack(pairs))
end
for at = puts + 8, #ARGV, 16 do
  local keys = {unpack(ARGV, at, math.min(at + 15, #ARGV))}
  local count = #keys
  local parts = keys
  if count % 2 == 1 then parts = {unpack(keys)}; parts[count + 1] = '' end
  local refused = tell('delete', count, parts)
  if refused then return refused end
  if counts then
    local less = 0
    for _, key in ipairs(keys) do less = less + redis.call('HSTRLEN', KEYS[1], key) end
    redis.call('DECRBY', KEYS[7], less)
  end
  redis.call('HDEL', KEYS[1], unpack(keys))
end
redis.call('SET', KEYS[3], string.format('%.0f', number))
if ARGV[1] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[3]) end
local from, size, most = number - tonumber(ARGV[4]), 0, tonumber(ARGV[6])
for at = 8, #ARGV do size = size + #ARGV[at] end
local total = redis.pcall('INCRBY', KEYS[5], size)
if type(total) ~= 'number' then
  redis.call('SET', KEYS[5], size)
  redis.call('DEL', KEYS[6])
  total = size
end
if math.floor(16 * total / most) > math.floor(16 * (total - size) / most) then
  local old = -1
  forget_other_kind(KEYS[6], 'list')
  for at, mark in ipairs(redis.call('LRANGE', KEYS[6], 0, -1)) do
    local told, before = string.match(mark, '^(%d+):(%d+)$')
    if told and total - tonumber(before) >= most then from, old = math.max(from, tonumber(told)), at - 1 end
  end
  if old > 0 then redis.call('LTRIM', KEYS[6], old, -1) end
  redis.call('RPUSH', KEYS[6], string.format('%.0f:%.0f', number, total))
end
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(from, 0)))
return {1, number}
"""
)
"""A call costs Redis 4 us, whatever it does, so an entry of the stream tells of several changes. Its id is the number
of the last one; its fields are `put` and how many, then a key and a row each; or `delete` and how many, then the keys.

Redis takes nothing back of a script that is refused half-way, so the source's offset moves last: what was not done is
done again. Each sixteenth of the bytes that the stream may have, a mark says which number had how many before it.
Where the counter was lost, is no number, or stands behind the stream, numbers go on behind the stream's newest: readers
notice the gap, and load the rows. An offset that is none counts as 0: changes are absolute. Bytes that cannot be are
counted anew.
"""
_HOLDS = """
local found = {}
for at = 1, #ARGV[1], 8 do
  found[#found + 1] = redis.call('HEXISTS', KEYS[1], string.sub(ARGV[1], at, at + 7))
end
return table.concat(found)
"""
_SCAN_KEYS = """
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local keys = {}
for at = 1, #page[2], 2 do keys[#keys + 1] = page[2][at] end
return {page[1], table.concat(keys)}
"""
"""HSCAN has rows alone to give before Redis 7.4: so much is not sent to be thrown away."""
_TOGETHER = 16
"""The most changes that an entry tells of."""


class ChangesTrimmed(NextclickError):
    """The wanted changes are no longer there, or may be others after a restart of Redis: load the rows again."""


@dataclass(frozen=True, slots=True)
class Source:
    """The log records that a commit comes from: it is refused unless `start` is the offset stored for them."""

    topic: str
    partition: int
    start: int
    next: int

    @property
    def field(self) -> str:
        return f"{self.topic}:{self.partition}"


class Change(NamedTuple):
    """One change of a table. `row` is None when the row was deleted."""

    number: int
    key: bytes
    row: bytes | None


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
        self._keys = _table_keys(settings, table)
        self._commit = self._redis.register_script(_COMMIT)
        self._check = WriteCheck(settings.place)

    def commit(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = (), source: Source | None = None) -> int:
        """Put and delete rows, and move the source's offset, all or nothing. Returns the number of the next change.

        Without a source nobody would commit the same again, so it returns once Redis's own end cannot undo it.

        Raises StateConflict, with nothing written, when the source's stored offset is not its `start`;
        StateUnavailable when the rows were not taken, or may not be kept: commit them again.
        """
        where: list[Any] = [source.field, source.start, source.next] if source else ["", 0, 0]
        flat = [part for pair in puts.items() for part in pair]
        with redis_errors_translated(self._settings):
            kept, *rest = self._kept
            done, number = self._commit(keys=self._keys, args=[*where, kept, len(puts), *rest, *flat, *deletes])
        if not done:
            assert source is not None
            raise StateConflict(source.field, source.start, number)
        if source is None:
            self.expect_kept()
        return int(number)

    def commit_in(self, pipe: Any, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Put and delete rows as a part of somebody else's transaction; `expect_kept` is to be called after it."""
        flat = [part for pair in puts.items() for part in pair]
        kept, *rest = self._kept
        self._commit(keys=self._keys, args=["", 0, 0, kept, len(puts), *rest, *flat, *deletes], client=pipe)

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
        self._rows, self._changes, self._end, self._progress, *_, self._bytes = _table_keys(settings, table)
        self._holds, self._scan_keys = map(self._redis.register_script, (_HOLDS, _SCAN_KEYS))

    def begin(self) -> int:
        """As `end`, from which `changes` are then read on: they are refused once the connection was lost."""
        self._begun = 0
        end = self.end()
        self._begun = self._connections.made
        return end

    def end(self) -> int:
        """Return the number that the next change gets."""
        end = answered(self._settings, lambda: self._redis.get(self._end))
        return _end_of(end, lambda: answered(self._settings, lambda: self._redis.xrevrange(self._changes, count=1)))

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
            for at in range(0, len(packed), 8 * _SCAN):
                found.append(self._holds(keys=[self._rows], args=[packed[at : at + 8 * _SCAN]]))
        held: NDArray[np.bool_] = np.frombuffer(b"".join(found), np.uint8) == ord("1")
        return held

    def keys(self) -> NDArray[np.uint64]:
        """Return the keys of all rows, (n,), each once."""
        cursor, pages = b"0", []
        while True:
            with redis_errors_translated(self._settings):
                cursor, page = self._scan_keys(keys=[self._rows], args=[cursor, _SCAN])
            pages.append(page)
            if cursor == b"0":
                return np.unique(np.frombuffer(b"".join(pages), "<u8").astype(np.uint64))

    def rows(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield all rows in slices. Read `end()` before, and follow from there."""
        cursor = 0
        while True:
            with redis_errors_translated(self._settings):
                cursor, found = self._redis.hscan(self._rows, cursor, count=_SCAN)
            yield list(found.items())
            if cursor == 0:
                return

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the named rows, in order."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.hmget(self._rows, keys) if keys else []
        return list(found)

    def size(self) -> int:
        """Return how many rows there are."""
        with redis_errors_translated(self._settings):
            return int(self._redis.hlen(self._rows))

    def changes(self, since: int, block_ms: int | None = None, count: int = _SCAN) -> list[Change]:
        """Return changes from number `since` on, at most `count`; wait up to `block_ms` when there is none.

        Raises ChangesTrimmed when `since` is no longer kept.
        """
        changes, is_all = self._read(since, block_ms, count)
        while not is_all:
            more, is_all = self._read(changes[-1].number + 1, None, count - len(changes))
            changes += more
        return changes

    def _read(self, since: int, block_ms: int | None, count: int) -> tuple[list[Change], bool]:
        entries, block = _entries_of(count), _waiting(block_ms, self._settings)
        with redis_errors_translated(self._settings):
            found: Any = self._redis.xread({self._changes: _before(since)}, count=entries, block=block)
        _expect_same_connections(self._begun, self._connections.made)
        if not found:
            _expect_not_rolled_back(since, self.end())
        return _parse_changes(found, since, count)

    def applied(self, topic: str, partition: int) -> int:
        """Return the next offset of a log partition that this table takes in."""
        stored = answered(self._settings, lambda: self._redis.hget(self._progress, f"{topic}:{partition}"))
        return whole(stored) or 0

    def close(self) -> None:
        self._redis.close()


class AsyncTableReader:
    """Reads and follows one table, from an event loop."""

    def __init__(self, settings: RedisSettings, table: str) -> None:
        self._settings = settings
        self._asking, self._following, self._begun = RedisLine(settings), RedisLine(settings), 0
        """Two connections: what is asked does not wait behind a read of changes that waits for some."""
        names = (key.encode() for key in _table_keys(settings, table))
        self._rows, self._changes, self._end, self._progress, *_, self._bytes = names

    async def begin(self) -> int:
        """As `end`, from which `changes` are then read on: they are refused once a connection was lost."""
        self._begun = 0
        await self._ask(self._following, (b"GET", self._end))
        end = await self.end()
        self._begun = self._made
        return end

    @property
    def _made(self) -> int:
        return self._asking.made + self._following.made

    async def end(self) -> int:
        """Return the number that the next change gets."""
        newest = (b"XREVRANGE", self._changes, b"+", b"-", b"COUNT", b"1")
        end, last = await self._ask(self._asking, (b"GET", self._end), newest)
        return _end_of(end, lambda: last)

    async def extent(self) -> tuple[int, int]:
        """As `TableReader.extent`."""
        rows, size = await self._ask(self._asking, (b"HLEN", self._rows), (b"GET", self._bytes))
        return int(rows), whole(size) or 0

    async def rows(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Yield all rows in slices. Read `end()` before, and follow from there."""
        cursor = b"0"
        while True:
            scan = (b"HSCAN", self._rows, cursor, b"COUNT", b"%d" % _SCAN)
            cursor, found = (await self._ask(self._asking, scan))[0]
            yield list(zip(found[::2], found[1::2], strict=True))
            if cursor == b"0":
                return

    async def changes(self, since: int, block_ms: int | None = None, count: int = _SCAN) -> list[Change]:
        """Return changes from number `since` on, at most `count`; wait up to `block_ms` when there is none.

        Raises ChangesTrimmed when `since` is no longer kept.
        """
        changes, is_all = await self._read(since, block_ms, count)
        while not is_all:
            more, is_all = await self._read(changes[-1].number + 1, None, count - len(changes))
            changes += more
        return changes

    async def _read(self, since: int, block_ms: int | None, count: int) -> tuple[list[Change], bool]:
        block = _waiting(block_ms, self._settings)
        wait = () if block is None else (b"BLOCK", b"%d" % block)
        limits = (b"COUNT", b"%d" % _entries_of(count), *wait)
        read = (b"XREAD", *limits, b"STREAMS", self._changes, _before(since).encode())
        found, end = await self._ask(self._following, read, (b"GET", self._end))
        _expect_same_connections(self._begun, self._made)
        if not found:
            number = whole(end)
            _expect_not_rolled_back(since, await self.end() if number is None else number)
        return _parse_changes(found, since, count)

    async def applied(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Return, per log partition, the next offset that this table takes in."""
        fields = [f"{topic}:{partition}".encode() for partition in partitions]
        found = (await self._ask(self._asking, (b"HMGET", self._progress, *fields)))[0]
        stored = found or [None] * len(fields)
        return {partition: whole(n) or 0 for partition, n in zip(partitions, stored, strict=True)}

    async def close(self) -> None:
        await self._asking.close()
        await self._following.close()

    async def _ask(self, line: RedisLine, *commands: Sequence[bytes]) -> list[Any]:
        """Return the answers, one a command, in one round trip. Raises StateUnavailable for the first that is none: but
        a number whose key holds another kind of thing is None."""
        with redis_errors_translated(self._settings):
            answers = await line.call(packed(*commands), len(commands))
            for at, answer in enumerate(answers):
                if isinstance(answer, Exception):
                    if not (is_other_kind(answer) and commands[at][0] in _NUMBERS):
                        raise answer
                    answers[at] = None
        return answers


def _table_keys(settings: RedisSettings, table: str) -> list[str]:
    keys = Keys(settings.prefix)
    names = (keys.table_rows, keys.table_changes, keys.table_end, keys.table_progress)
    return [name(table) for name in (*names, keys.table_changed_bytes, keys.table_marks, keys.table_bytes)]


def _waiting(block_ms: int | None, settings: RedisSettings) -> int | None:
    """Return how long Redis may wait for changes: so long that its answer is still in time."""
    return None if block_ms is None else max(1, min(block_ms, settings.timeout_ms // 2))


_NUMBERS: Final = (b"GET", b"HMGET", b"XREVRANGE")
"""Commands that ask for numbers of a table: see `whole`. Rows and changes that are another kind of thing are waited
for."""


def _end_of(counter: Any, newest: Callable[[], Any]) -> int:
    """Return the number of the next change: what the counter says, and where it is lost or no number, the one behind
    the stream's newest entry, as the next commit will have it.
    """
    number = whole(counter)
    if number is not None:
        return number
    last = newest()
    return int(last[0][0].partition(b"-")[0]) + 1 if last else 0


def _before(since: int) -> str:
    return f"{since - 1}-1" if since > 0 else "0-0"


def _expect_not_rolled_back(since: int, end: int) -> None:
    if end < since:
        raise ChangesTrimmed(f"waiting for change {since}, but the table ends at {end}: Redis lost its last writes")


def _expect_same_connections(begun: int, made: int) -> None:
    if begun not in (0, made):
        raise ChangesTrimmed("the connection to Redis was lost since reading began: it may lack its last writes")


def _entries_of(count: int) -> int:
    """Return how many entries of the stream to ask for, that none is read to be thrown away."""
    return -(-count // _TOGETHER)


def _parse_changes(found: Any, since: int, count: int) -> tuple[list[Change], bool]:
    """Return at most `count` changes of an XREAD of one stream, in Redis's plain lists; and whether these are all: so
    many, or as many as there are.
    """
    if not found:
        return [], True
    entries = found[0][1] if isinstance(found, list) else next(iter(found.values()))
    changes: list[Change] = []
    try:
        for name, fields in entries:
            told = list(_told(int(name[: name.index(b"-")]), fields))
            if changes and told[0].number != changes[-1].number + 1:  # entries are missing: the next reading says so
                entries = ()
                break
            changes += told
    except (IndexError, ValueError, TypeError) as error:
        raise ChangesTrimmed(
            f"an entry behind {since} of the stream is no change ({error!r}): load the rows again"
        ) from error
    if changes[0].number > since:
        raise ChangesTrimmed(f"wanted change {since}, the oldest kept is {changes[0].number}: load the rows again")
    known = since - changes[0].number  # of the first entry, where reading stopped in the middle of it
    wanted = changes[known : known + count]
    return wanted, len(wanted) == count or len(entries) < _entries_of(count)


def _told(last: int, fields: list[bytes]) -> Iterable[Change]:
    """Return the changes that an entry of the stream tells of, of which `last` is the last one's number."""
    what, count = fields[0], int(fields[1])
    if what not in (b"put", b"delete") or not 0 < count <= len(fields):
        raise ValueError(f"{count} times {what!r}")
    keys, rows = (fields[2::2], fields[3::2]) if what == b"put" else (fields[2 : 2 + count], [None] * count)
    if not len(keys) == len(rows) == count:
        raise ValueError(f"{count} times {what!r}, of {len(keys)} keys")
    return map(Change, range(last + 1 - count, last + 1), keys, rows)
