"""Attribution in Redis: units of visitors, cells of figures by hour, and how far both topics were counted.

A batch is one script: it writes nothing where the topic's offset or one unit's revision is another than was read. So
what is counted is counted once, whoever dies at whatever step.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoScriptError

from contracts.errors import NextclickError, StateConflict
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, is_other_kind, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_rounds import RedisRounds

log = logging.getLogger("nextclick.state")

REVISION_BYTES: Final = 8
_LONGEST: Final = 18
"""Digits of a counter: what fits into 64 bits, whatever they are."""
_COMMIT: Final = f"""{WHOLE_LUA}
local progress, hours, facts = KEYS[1], KEYS[2], KEYS[3]
for i = 1, 3 do forget_other_kind(KEYS[i], i == 2 and 'zset' or 'hash') end
local at = whole(redis.call('HGET', progress, ARGV[1])) or 0
if at ~= tonumber(ARGV[2]) then return {{-1, at}} end
local units, counted, cells = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local keep_unit, most, left_out = ARGV[8], tonumber(ARGV[9]), 0
local a = 10
for i = 1, units do
  local was = redis.pcall('GETRANGE', KEYS[3 + i], 0, 7)
  if type(was) == 'table' then was = '' end
  if was ~= ARGV[a + 2 * i - 2] then return {{0, i}} end
end
for i = 1, units do redis.call('SET', KEYS[3 + i], ARGV[a + 2 * i - 1], 'PX', keep_unit) end
a = a + 2 * units
for i = 1, counted do redis.call('HINCRBY', facts, ARGV[a + 2 * i - 2], ARGV[a + 2 * i - 1]) end
a = a + 2 * counted
local key = 3 + units
for i = 1, cells do
  local hour, many = ARGV[a], tonumber(ARGV[a + 1])
  key = key + 1
  forget_other_kind(KEYS[key], 'hash')
  a = a + 2
  for j = 1, many do
    local size = redis.call('HLEN', KEYS[key])
    if size >= most and redis.call('HEXISTS', KEYS[key], ARGV[a]) == 0 then
      left_out = left_out + 1
    else
      local sum = redis.pcall('HINCRBY', KEYS[key], ARGV[a], ARGV[a + 1])
      if type(sum) == 'table' then redis.call('HSET', KEYS[key], ARGV[a], ARGV[a + 1]) end
    end
    a = a + 2
  end
  redis.call('ZADD', hours, hour, hour)
end
if left_out > 0 then redis.call('HINCRBY', facts, 'cells_left_out', left_out) end
redis.call('HSET', progress, ARGV[1], ARGV[3], ARGV[1] .. ':newest', ARGV[4])
return {{1, 0}}
"""
"""Beside keys: topic and partition, the offset that was read, the next one, the newest time; how many units, facts and
hours; how long units are kept; how many cells an hour may have. Then revision and bytes of each unit, name and count of
each fact; of each hour its number, how many cells, and field and change of each. A counter that holds no number begins
afresh.
"""
_SHA: Final = hashlib.sha1(_COMMIT.encode()).hexdigest()

SESSION, USER = "session", "user"
UnitKey = tuple[str, str]
"""`session` or `user`, and its id."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition of a topic was counted: the next offset, and the newest event's time before it."""

    next_offset: int
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch changes: units as bytes, increments of cells by hour and field, and counts of facts."""

    units: Mapping[UnitKey, bytes]
    cells: Mapping[int, Mapping[bytes, int]]
    facts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Cells by hour, and the offsets that they stand on, by `topic:partition`."""

    cells: Mapping[int, Mapping[bytes, int]]
    offsets: Mapping[str, int]
    facts: Mapping[str, int]


class TooManyCells(NextclickError):
    """More counters than one reading may have."""


class AttributionStore:
    """Units, cells and offsets of the attribution flow, for one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, unit_ms: int, max_cells: int) -> None:
        """`unit_ms` is how long a unit is kept after it last changed; `max_cells` how many counters an hour has."""
        self._settings, self._unit_ms, self._max_cells = settings, unit_ms, max_cells
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        self._keys = Keys(settings.prefix)

    def place(self, topic: str, partition: int) -> Place:
        """Return how far a partition was counted."""
        name = f"{topic}:{partition}"
        [answer] = self._ask([("HMGET", self._keys.attribution_progress(), name, f"{name}:newest")])
        found = answer if isinstance(answer, list) else (None, None)
        return Place(whole(found[0]) or 0, whole(found[1]) or 0)

    def units(self, asked: Iterable[UnitKey]) -> dict[UnitKey, tuple[bytes, bytes]]:
        """Return revision and bytes of units, both empty for one that is not there."""
        names = list(asked)
        if not names:
            return {}
        [answers] = self._ask([("MGET", *(self._keys.attribution_unit(*name) for name in names))])
        return {
            name: (raw[:REVISION_BYTES], raw[REVISION_BYTES:]) if isinstance(raw, bytes) else (b"", b"")
            for name, raw in zip(names, answers, strict=True)
        }

    def commit(
        self, topic: str, partition: int, was: Place, now: Place, loaded: Mapping[UnitKey, bytes], changes: Changes
    ) -> bool:
        """Write a batch, all or nothing; `loaded` are the revisions of all units that it changes. Returns False where
        somebody else wrote one of them meanwhile: load again.

        Raises StateConflict where the partition was counted up to another offset than `was` says.
        """
        command = self._command(f"{topic}:{partition}", was, now, loaded, changes)
        [answer] = self._ask([("EVALSHA", _SHA, *command)], refused=True)
        if isinstance(answer, NoScriptError):
            [answer] = self._ask([("EVAL", _COMMIT, *command)])
        elif isinstance(answer, Exception):
            with redis_errors_translated(self._settings):
                raise answer
        outcome, at = answer
        if outcome == -1:
            raise StateConflict(f"attribution of {topic} partition {partition}", was.next_offset, int(at))
        return bool(outcome == 1)

    def ledger(self, first_hour: int | None = None, last_hour: int | None = None, *, most: int | None = None) -> Ledger:
        """Return the cells of some hours (both ends included), and what they stand on, as of one moment.

        Raises TooManyCells for more than `most`.
        """
        low, high = "-inf" if first_hour is None else first_hour, "+inf" if last_hour is None else last_hour
        [hours] = self._ask([("ZRANGEBYSCORE", self._keys.attribution_hours(), low, high)])
        numbers = [number for hour in (hours or ()) if (number := whole(hour)) is not None]
        if most is not None:
            sizes = self._ask([("HLEN", self._keys.attribution_cells(hour)) for hour in numbers]) if numbers else []
            if (count := sum(size for size in sizes if isinstance(size, int))) > most:
                raise TooManyCells(f"expected hours of at most {most:,} counters, got {count:,}: ask for fewer hours")
        reads: list[Sequence[Any]] = [("HGETALL", self._keys.attribution_cells(hour)) for hour in numbers]
        reads += [("HGETALL", self._keys.attribution_progress()), ("HGETALL", self._keys.attribution_facts())]
        *_, answers = self._ask([("MULTI",), *reads, ("EXEC",)])
        *cells, progress, facts = (_pairs(answer) for answer in answers)
        offsets = {name.decode(): count for name, count in progress.items() if not name.endswith(b":newest")}
        kept = {hour: found for hour, found in zip(numbers, cells, strict=True) if found}
        return Ledger(kept, offsets, {name.decode(): count for name, count in facts.items()})

    def forget_hours(self, before: int) -> None:
        """Take away the cells of all hours before one. They never expire: a full Redis would take them first."""
        hours = self._keys.attribution_hours()
        [found] = self._ask([("ZRANGEBYSCORE", hours, "-inf", f"({before}")])
        for hour in found if isinstance(found, list) else ():
            gone: list[Sequence[Any]] = [("ZREM", hours, hour)]
            if (number := whole(hour)) is not None:
                gone.insert(0, ("UNLINK", self._keys.attribution_cells(number)))
            self._ask(gone)

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _command(
        self, name: str, was: Place, now: Place, loaded: Mapping[UnitKey, bytes], changes: Changes
    ) -> list[Any]:
        keys = [self._keys.attribution_progress(), self._keys.attribution_hours(), self._keys.attribution_facts()]
        keys += [self._keys.attribution_unit(*unit) for unit in changes.units]
        keys += [self._keys.attribution_cells(hour) for hour in changes.cells]
        facts = {fact: count for fact, count in changes.facts.items() if count}
        told: list[Any] = [name, was.next_offset, now.next_offset, now.newest_ms]
        told += [len(changes.units), len(facts), len(changes.cells), self._unit_ms, self._max_cells]
        for unit, raw in changes.units.items():
            told += [loaded[unit], _next(loaded[unit]) + raw]
        for fact, count in facts.items():
            told += [fact, count]
        for hour, fields in changes.cells.items():
            told += [hour, len(fields)]
            for field, count in fields.items():
                told += [field, count]
        return [len(keys), *keys, *told]

    def _ask(self, commands: Sequence[Sequence[Any]], *, refused: bool = False) -> list[Any]:
        with redis_errors_translated(self._settings):
            answers = self._rounds.run(commands)
            for answer in answers:
                if isinstance(answer, Exception) and not refused and not is_other_kind(answer):
                    raise answer
        return answers


def read_ledger(
    settings: RedisSettings, first_hour: int | None = None, last_hour: int | None = None, *, most: int | None = None
) -> Ledger:
    """Return what `AttributionStore.ledger` does, on a connection of its own. Raises StateUnavailable, TooManyCells."""
    store = AttributionStore(settings, unit_ms=1, max_cells=1)  # it writes nothing
    try:
        return store.ledger(first_hour, last_hour, most=most)
    finally:
        store.close()


def _next(revision: bytes) -> bytes:
    number: int = int.from_bytes(revision, "little") + 1
    wrapped: int = number % 256**REVISION_BYTES
    return wrapped.to_bytes(REVISION_BYTES, "little")


def _pairs(answer: object) -> dict[bytes, int]:
    """Return a hash of whole numbers, which may be below 0; what is no number is left out."""
    if isinstance(answer, dict):  # as some clients read a hash
        answer = [part for pair in answer.items() for part in pair]
    if not isinstance(answer, list):
        return {}
    found: dict[bytes, int] = {}
    for name, value in zip(answer[::2], answer[1::2], strict=True):
        digits = value.removeprefix(b"-")
        if digits.isdigit() and len(digits) <= _LONGEST:
            found[name] = int(value)
    return found
