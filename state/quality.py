"""What watches the data, in Redis: counters by hour, sessions that no human has, and how far the clicks were counted.

A batch is one script, which writes nothing where the partition's offset is another than was read: what is counted is
counted once, whoever dies at whatever step.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from contracts.errors import StateConflict, StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_rounds import RedisRounds

HOUR_MINUTES: Final = 60
KEEP_MS: Final = 9 * 86_400_000
"""An hour's counters go so long after they last changed: checks look seven days back."""
BOTS_EVERY_S: Final = 5.0
"""How old the list of sessions that a flow leaves out may be."""
LEFT_OUT: Final = "left_out"
_COMMIT: Final = f"""{WHOLE_LUA}
local progress, bots = KEYS[1], KEYS[2]
forget_other_kind(progress, 'hash')
forget_other_kind(bots, 'zset')
local at = whole(redis.call('HGET', progress, ARGV[1])) or 0
if at ~= tonumber(ARGV[2]) then return {{-1, at}} end
redis.call('HSET', progress, ARGV[1], ARGV[3], ARGV[1] .. ':newest', ARGV[4])
local many, oldest, most_bots = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local life, most, a, left_out = ARGV[8], tonumber(ARGV[9]), 10, 0
for i = 1, many do
  redis.call('ZADD', bots, ARGV[a + 1], ARGV[a])
  a = a + 2
end
if many > 0 then
  redis.call('ZREMRANGEBYSCORE', bots, '-inf', '(' .. oldest)
  redis.call('ZREMRANGEBYRANK', bots, 0, -1 - most_bots)
end
for k = 3, #KEYS do
  local count = tonumber(ARGV[a])
  a = a + 1
  forget_other_kind(KEYS[k], 'hash')
  for j = 1, count do
    local name, value = ARGV[a], ARGV[a + 1]
    if redis.call('HLEN', KEYS[k]) >= most and redis.call('HEXISTS', KEYS[k], name) == 0 then
      left_out = left_out + 1
    elseif type(redis.pcall('HINCRBY', KEYS[k], name, value)) == 'table' then
      redis.call('HSET', KEYS[k], name, value)
    end
    a = a + 2
  end
  redis.call('PEXPIRE', KEYS[k], life)
end
if left_out > 0 and type(redis.pcall('HINCRBY', progress, '{LEFT_OUT}', left_out)) == 'table' then
  redis.call('HSET', progress, '{LEFT_OUT}', left_out)
end
return {{1, 0}}
"""
"""Beside keys: partition, the offset that was read, the next one, the newest time; how many sessions, the oldest moment
that is kept of them, how many at most; the life of an hour and its counters, at most. Then each session and its last
moment; then of each hour how many counters, and name and change of each.
"""
_SHA: Final = hashlib.sha1(_COMMIT.encode()).hexdigest()


class Place(NamedTuple):
    """How far a partition was counted: the next offset, and the newest event's time before it."""

    next_offset: int
    newest_ms: int


class QualityStore:
    """Counters, sessions and offsets of the quality flow, for one thread. Raises StateUnavailable."""

    def __init__(
        self, settings: RedisSettings, *, max_cells: int = 1, max_bots: int = 1, bots_keep_ms: int = 1
    ) -> None:
        """The bounds are for who writes."""
        self._settings, self._bounds = settings, (max_cells, max_bots, bots_keep_ms)
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        self._keys = Keys(settings.prefix)

    def place(self, partition: int) -> Place:
        """Return how far a partition was counted."""
        [answer] = self._ask([("HMGET", self._keys.quality_progress(), partition, f"{partition}:newest")])
        found = answer if isinstance(answer, list) else (None, None)
        return Place(whole(found[0]) or 0, whole(found[1]) or 0)

    def commit(
        self,
        partition: int,
        was: int,
        now: Place,
        cells: Mapping[tuple[int, str], int],
        bots: Mapping[str, int],
    ) -> None:
        """Write a batch, all or nothing, in one round trip. Raises StateConflict where the partition was counted up to
        another offset than `was`.
        """
        command = self._command(partition, was, now, cells, bots)
        with redis_errors_translated(self._settings):
            [(outcome, at)] = self._rounds.scripts(_SHA, _COMMIT, [command])
        if outcome == -1:
            raise StateConflict(f"quality of clicks partition {partition}", was, int(at))

    def cells(self, hours: Iterable[int]) -> Counter[tuple[int, str]]:
        """Return the counters of some hours since 1970, by minute since 1970 and name."""
        numbers, found = list(hours), Counter[tuple[int, str]]()
        answers = self._ask([("HGETALL", self._keys.quality_cells(hour)) for hour in numbers])
        for hour, answer in zip(numbers, answers, strict=True):
            for raw, value in _pairs(answer):
                minute, _, name = raw.decode(errors="replace").partition(":")
                count = whole(value)
                if count is not None and name and minute.isdecimal() and int(minute) < HOUR_MINUTES:
                    found[hour * HOUR_MINUTES + int(minute), name] = count
        return found

    def bots(self, since_ms: int) -> list[str]:
        """Return the sessions that no human has, and that were active since a moment."""
        [answer] = self._ask([("ZRANGEBYSCORE", self._keys.quality_bots(), since_ms, "+inf")])
        return [raw.decode(errors="replace") for raw in answer] if isinstance(answer, list) else []

    def look(self, hours: Iterable[int], since_ms: int) -> tuple[Counter[tuple[int, str]], int]:
        """Return the counters of some hours, and how many sessions active since a moment no human has."""
        [count] = self._ask([("ZCOUNT", self._keys.quality_bots(), since_ms, "+inf")])
        return self.cells(hours), count if isinstance(count, int) else 0

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _command(
        self, partition: int, was: int, now: Place, cells: Mapping[tuple[int, str], int], bots: Mapping[str, int]
    ) -> list[Any]:
        by_hour: dict[int, list[Any]] = defaultdict(list)
        for (minute, name), count in cells.items():
            by_hour[minute // HOUR_MINUTES] += [f"{minute % HOUR_MINUTES}:{name}", count]
        max_cells, max_bots, bots_keep_ms = self._bounds
        keys = [self._keys.quality_progress(), self._keys.quality_bots()]
        keys += [self._keys.quality_cells(hour) for hour in by_hour]
        told: list[Any] = [partition, was, now.next_offset, now.newest_ms]
        told += [len(bots), max(0, now.newest_ms - bots_keep_ms), max_bots, KEEP_MS, max_cells]
        for session, last_ms in bots.items():
            told += [session, last_ms]
        for fields in by_hour.values():
            told += [len(fields) // 2, *fields]
        return [len(keys), *keys, *told]

    def _ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        with redis_errors_translated(self._settings):
            return self._rounds.ask(commands)


def read_quality(
    settings: RedisSettings, hours: Iterable[int], bots_since_ms: int
) -> tuple[Counter[tuple[int, str]], int]:
    """Return what `QualityStore.look` does, on a connection of its own. Raises StateUnavailable."""
    store = QualityStore(settings)  # it writes nothing
    try:
        return store.look(hours, bots_since_ms)
    finally:
        store.close()


def _pairs(answer: object) -> Iterable[tuple[bytes, bytes]]:
    """Return the fields of a hash, however it was read; none of a key that holds another kind of thing."""
    if isinstance(answer, dict):
        return answer.items()
    flat = answer if isinstance(answer, list) else []
    return zip(flat[::2], flat[1::2], strict=True)


class BotSessions:
    """The sessions that no human has, as they were some seconds ago at most. For one thread.

    What cannot be asked now stays as it was: nobody waits for this.
    """

    def __init__(
        self,
        settings: RedisSettings,
        keep_ms: int,
        clock_ms: Callable[[], int],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._keep_ms = QualityStore(settings), keep_ms
        self._clock_ms, self._clock_s = clock_ms, clock_s
        self._read_s = -BOTS_EVERY_S
        self._found: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """Return them; the same object while they are the same."""
        if self._clock_s() - self._read_s >= BOTS_EVERY_S:
            self._read_s = self._clock_s()
            with suppress(StateUnavailable):
                found = frozenset(self._store.bots(self._clock_ms() - self._keep_ms))
                if found != self._found:
                    self._found = found
        return self._found
