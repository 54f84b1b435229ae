"""Attribution in Redis: units of visitors, cells of figures by hour, and how far both topics were counted.

A batch is one script: it writes nothing where the topic's offset or one unit's revision is another than was read. So
what is counted is counted once, whoever dies at whatever step.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.errors import NextclickError, StateConflict
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_rounds import RedisRounds

log = logging.getLogger("nextclick.state")

REVISION_BYTES: Final = 8
_LONGEST: Final = 18
"""Digits of a counter: what fits into 64 bits, whatever they are."""
_COMMIT: Final = f"""{WHOLE_LUA}
local progress, hours, facts, experiments = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for i = 1, 4 do forget_other_kind(KEYS[i], i % 2 == 0 and 'zset' or 'hash') end
local at = whole(redis.call('HGET', progress, ARGV[1])) or 0
if at ~= tonumber(ARGV[2]) then return {{-1, at}} end
local units, counted, cells = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local most, left_out = tonumber(ARGV[8]), 0
local a = 9
for i = 1, units do
  local was = redis.pcall('GETRANGE', KEYS[4 + i], 0, 7)
  if type(was) == 'table' then was = '' end
  if was ~= ARGV[a + 3 * i - 3] then return {{0, i}} end
end
for i = 1, units do redis.call('SET', KEYS[4 + i], ARGV[a + 3 * i - 2], 'PX', ARGV[a + 3 * i - 1]) end
a = a + 3 * units
for i = 1, counted do redis.call('HINCRBY', facts, ARGV[a + 2 * i - 2], ARGV[a + 2 * i - 1]) end
a = a + 2 * counted
local key = 4 + units
local function write(many, most, sums)
  local left_out = 0
  key = key + 1
  forget_other_kind(KEYS[key], 'hash')
  for j = 1, many do
    local name, value = ARGV[a], ARGV[a + 1]
    if redis.call('HLEN', KEYS[key]) >= most and redis.call('HEXISTS', KEYS[key], name) == 0 then
      left_out = left_out + 1
    elseif not sums or type(redis.pcall('HINCRBY', KEYS[key], name, value)) == 'table' then
      redis.call('HSET', KEYS[key], name, value)
    end
    a = a + 2
  end
  return left_out
end
for i = 1, cells do
  local hour, many = ARGV[a], tonumber(ARGV[a + 1])
  a = a + 2
  left_out = left_out + write(many, most, true)
  redis.call('ZADD', hours, hour, hour)
end
if left_out > 0 then redis.call('HINCRBY', facts, 'cells_left_out', left_out) end
local groups, most_units, most_experiments = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
a = a + 3
left_out = 0
for i = 1, groups do
  local name, hour, sums, many = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2] == '1', tonumber(ARGV[a + 3])
  a = a + 4
  local newest = tonumber(redis.call('ZSCORE', experiments, name) or -1)
  if newest < 0 and redis.call('ZCARD', experiments) >= most_experiments then
    left_out = left_out + many
    a, key = a + 2 * many, key + 1
  else
    if hour > newest then redis.call('ZADD', experiments, hour, name) end
    left_out = left_out + write(many, sums and most or most_units, sums)
  end
end
if left_out > 0 then redis.call('HINCRBY', facts, 'rows_left_out', left_out) end
redis.call('HSET', progress, ARGV[1], ARGV[3], ARGV[1] .. ':newest', ARGV[4])
return {{1, 0}}
"""
"""Beside keys: topic and partition, the offset that was read, the next one, the newest time; how many units, facts and
hours; how many cells an hour may have. Then revision, bytes and life of each unit, name and count of each fact; of each
hour its number, how many cells, and field and change of each. Then how many hashes of experiments, how many units and
experiments there may be; of each hash the experiment, the hour, whether it holds sums, how many fields, and those. A
counter that holds no number begins afresh.
"""
_SHA: Final = hashlib.sha1(_COMMIT.encode()).hexdigest()

SESSION, USER = "session", "user"
HOUR_MS: Final = 3_600_000
HOURS_A_DAY: Final = 24
FORGET_DAYS: Final = 40
"""Days behind the kept ones that are looked at for sums to take away: a flow that stood still leaves no more."""
UnitKey = tuple[str, str]
"""`session` or `user`, and its id."""
ExperimentUnits = tuple[str, str]
"""An experiment, and `session` or `user`."""
ExperimentDay = tuple[str, int]
"""An experiment, and a day since 1970."""
MOST_EXPERIMENTS: Final = 500


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition of a topic was counted: the next offset, and the newest event's time before it."""

    next_offset: int
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch changes: units as bytes, increments of cells by hour and field, and counts of facts; of experiments
    the rows of units, and increments of sums by field.
    """

    units: Mapping[UnitKey, bytes]
    cells: Mapping[int, Mapping[bytes, int]]
    facts: Mapping[str, int]
    rows: Mapping[ExperimentUnits, Mapping[str, bytes]] = field(default_factory=dict)
    sums: Mapping[ExperimentDay, Mapping[bytes, int]] = field(default_factory=dict)


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

    def __init__(
        self, settings: RedisSettings, *, unit_ms: int, max_cells: int, keep_ms: int = 0, max_units: int = 200_000
    ) -> None:
        """`unit_ms` is how long a unit is kept after it last changed, `keep_ms` a user who is in an experiment;
        `max_cells` how many counters an hour has, `max_units` how many units an experiment.
        """
        self._settings, self._unit_ms, self._keep_ms = settings, unit_ms, max(unit_ms, keep_ms)
        self._max_cells, self._max_units = max_cells, max_units
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
        with redis_errors_translated(self._settings):
            [(outcome, at)] = self._rounds.scripts(_SHA, _COMMIT, [command])
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
        *cells, progress, facts = (pairs_of(answer) for answer in answers)
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

    def forget_experiments(self, before: int) -> None:
        """Take away rows and sums of experiments in which no unit changed since an hour, and the sums of older days."""
        registry, last_day = self._keys.attribution_experiments(), before // HOURS_A_DAY
        [all_of_them] = self._ask([("ZRANGE", registry, 0, -1)])
        [idle] = self._ask([("ZRANGEBYSCORE", registry, "-inf", f"({before}")])
        for raw in all_of_them if isinstance(all_of_them, list) else ():
            name = raw.decode(errors="replace")
            days = range(last_day - FORGET_DAYS, last_day)
            gone: list[Sequence[Any]] = [("UNLINK", *(self._keys.experiment_sums(name, day) for day in days))]
            if raw in idle:
                keys = (self._keys.experiment_units(name, kind) for kind in (SESSION, USER))
                gone += [("UNLINK", *keys), ("ZREM", registry, raw)]
            self._ask(gone)

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _command(
        self, place: str, was: Place, now: Place, loaded: Mapping[UnitKey, bytes], changes: Changes
    ) -> list[Any]:
        keys = [self._keys.attribution_progress(), self._keys.attribution_hours(), self._keys.attribution_facts()]
        keys.append(self._keys.attribution_experiments())
        keys += [self._keys.attribution_unit(*unit) for unit in changes.units]
        keys += [self._keys.attribution_cells(hour) for hour in changes.cells]
        facts = {fact: count for fact, count in changes.facts.items() if count}
        in_it = {(USER, user) for (_, kind), rows in changes.rows.items() if kind == USER for user in rows}
        told: list[Any] = [place, was.next_offset, now.next_offset, now.newest_ms]
        told += [len(changes.units), len(facts), len(changes.cells), self._max_cells]
        for unit, raw in changes.units.items():
            told += [loaded[unit], _next(loaded[unit]) + raw, self._keep_ms if unit in in_it else self._unit_ms]
        for fact, count in facts.items():
            told += [fact, count]
        for hour, fields in changes.cells.items():
            told += [hour, len(fields)]
            for name, count in fields.items():
                told += [name, count]
        hour = now.newest_ms // HOUR_MS
        told += [len(changes.rows) + len(changes.sums), self._max_units, MOST_EXPERIMENTS]
        for (experiment, kind), rows in changes.rows.items():
            keys.append(self._keys.experiment_units(experiment, kind))
            told += [experiment, hour, 0, len(rows), *_flat(rows)]
        for (experiment, day), sums in changes.sums.items():
            keys.append(self._keys.experiment_sums(experiment, day))
            told += [experiment, hour, 1, len(sums), *_flat(sums)]
        return [len(keys), *keys, *told]

    def _ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        with redis_errors_translated(self._settings):
            return self._rounds.ask(commands)


def read_ledger(
    settings: RedisSettings, first_hour: int | None = None, last_hour: int | None = None, *, most: int | None = None
) -> Ledger:
    """Return what `AttributionStore.ledger` does, on a connection of its own. Raises StateUnavailable, TooManyCells."""
    store = AttributionStore(settings, unit_ms=1, max_cells=1)  # it writes nothing
    try:
        return store.ledger(first_hour, last_hour, most=most)
    finally:
        store.close()


def _flat(fields: Mapping[Any, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]


def _next(revision: bytes) -> bytes:
    number: int = int.from_bytes(revision, "little") + 1
    wrapped: int = number % 256**REVISION_BYTES
    return wrapped.to_bytes(REVISION_BYTES, "little")


def pairs_of(answer: object) -> dict[bytes, int]:
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
