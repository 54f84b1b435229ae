"""The event log on Redis Streams: a stream, a counter, the groups' offsets and the bytes of each partition of a topic.

Entry ids are `<offset>-1`, so offsets are dense integers from 0. One script a partition takes a batch whole or
not at all, and everything that one append says travels in one round trip. All keys of a script share a hash tag.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from contracts.errors import LogFull, LogWentBack, OffsetTrimmed
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, whole
from contracts.settings import LogSettings, RedisSettings
from eventlog.coalesce import Coalescer
from eventlog.contract import ERASED, Batch, DeadLetter, Message, Position, Record, Topic, expect_fits
from eventlog.read_lately import ReadLately
from eventlog.redis_append import FULL_OF_BYTES, Kept, append, holder
from eventlog.redis_calls import AsyncCaller, Caller, Command, Script
from eventlog.redis_dead_letters import dead_letter_commands

_LIMITED = frozenset({Topic.CLICKS})
_BLOCK_S = 1.0  # a blocked read answers at least this often, so that its time-out can stay short

_COMMIT = Script(
    WHOLE_LUA
    + """
forget_other_kind(KEYS[1], 'hash')
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""
)


class _Share(NamedTuple):
    """One partition's share of an append: the values, and where their records stood in the caller's order."""

    partition: int
    places: list[int]
    command: Command


@dataclass(frozen=True, slots=True)
class _Appends:
    """The arithmetic of appending, without the round trip: what to send, and what the answers mean."""

    keys: Keys
    log: LogSettings

    def shares(self, topic: Topic, records: Sequence[Record]) -> list[_Share]:
        places: dict[int, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(partition_of(record.key, self.log.partitions), []).append(place)
        limit = self.log.max_backlog if topic in _LIMITED else 0
        rules = Kept.of(topic, self.log, limit)
        return [
            _Share(
                partition, mine, append(self.keys, topic, partition, rules, [records[place].value for place in mine])
            )
            for partition, mine in places.items()
        ]

    def positions(self, topic: Topic, count: int, shares: Sequence[_Share], answers: Sequence[Any]) -> list[Position]:
        """Return the records' positions in the caller's order. Raises LogFull for the first share refused."""
        found: list[Position] = [Position(0, 0)] * count
        for share, (first, backlog) in zip(shares, answers, strict=True):
            if first < 0:
                raise self._full(topic, share.partition, backlog, in_bytes=first == FULL_OF_BYTES)
            for at, place in enumerate(share.places):
                found[place] = Position(share.partition, first + at)
        return found

    def _full(self, topic: Topic, partition: int, backlog: int, *, in_bytes: bool) -> LogFull:
        what = "bytes" if in_bytes else "records"
        limit = self.log.share(self.log.max_backlog_bytes) if in_bytes else self.log.max_backlog
        setting = f"log.max_backlog{'_bytes' if in_bytes else ''}"
        return LogFull(
            f"{topic} partition {partition}: {backlog} {what} wait to be applied, the limit is {limit}: retry later, "
            f"start more flows, or raise {setting}"
        )


class RedisLogWriter:
    """LogWriter on Redis Streams. A batch of one partition is taken whole or refused whole.

    The backlog limit is looked at before a batch is taken, so the backlog can pass it by one batch.
    An append that timed out may have been applied all the same: append again, readers count an event id once.
    """

    def __init__(self, log: LogSettings, redis: RedisSettings) -> None:
        self._appends, self._most_bytes = _Appends(Keys(redis.prefix), log), log.max_record_bytes
        self._redis = Caller(redis)

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        expect_fits(topic, records, self._most_bytes)
        shares = self._appends.shares(topic, records)
        answers = self._redis.run_kept(f"append to {topic}", [share.command for share in shares])
        return self._appends.positions(topic, len(records), shares, answers)

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        self._redis.run_kept("write dead letters", dead_letter_commands(self._appends.keys, self._appends.log, letters))

    def close(self) -> None:
        self._redis.close()


class RedisAsyncLogWriter:
    """AsyncLogWriter on Redis Streams. Appends that wait for a round trip share the next; else as RedisLogWriter."""

    def __init__(self, log: LogSettings, redis: RedisSettings) -> None:
        self._appends, self._most_bytes = _Appends(Keys(redis.prefix), log), log.max_record_bytes
        self._redis = AsyncCaller(redis)
        self._together = Coalescer(self._append, gather_s=log.gather_ms / 1000)

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        expect_fits(topic, records, self._most_bytes)
        return await self._together.append(topic, records)

    async def _append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        shares = self._appends.shares(topic, records)
        answers = await self._redis.run_kept(f"append to {topic}", [share.command for share in shares])
        return self._appends.positions(topic, len(records), shares, answers)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await self._redis.run_kept(
            "write dead letters", dead_letter_commands(self._appends.keys, self._appends.log, letters)
        )

    async def close(self) -> None:
        await self._together.drain()
        await self._redis.close()


class RedisLogReader:
    """LogReader on Redis Streams: one blocking XREAD over all its partitions, in a cluster one for each.

    Raises OffsetTrimmed also for an offset beyond the end (a log that was emptied): reading on would skip records. Of a
    cluster, whose slots do not go back together, LogWentBack where the log holds others than were read.
    """

    def __init__(self, redis: RedisSettings, topic: Topic, partitions: Sequence[int], group: str) -> None:
        self._topic, self._group = topic, group
        self._keys = Keys(redis.prefix)
        self._redis = Caller(redis, longest_wait_s=_BLOCK_S, connects=self._connects)
        self.connections = 0
        self._partition_of = {self._keys.log(topic, partition).encode(): partition for partition in partitions}
        self._next = dict.fromkeys(partitions, 0)
        self._unverified = set(partitions)
        self._lately = ReadLately() if redis.is_cluster else None

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._next:
            raise ValueError(f"this reader has {self._topic} partitions {sorted(self._next)}, got {partition}")
        self._next[partition] = offset
        self._unverified.add(partition)
        if self._lately is not None:
            self._lately.seek(partition, offset)

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        if not self._next:
            time.sleep(max_wait_s)
            return []
        until = time.monotonic() + max_wait_s
        while True:
            left_s, before = until - time.monotonic(), self._next.copy()
            try:
                if self._unverified:
                    self._verify(before)
                batches = self._read(max_records, min(left_s, _BLOCK_S))
                if self._unverified:  # read over a new connection
                    self._verify(before)
            except Exception:
                self._next = before  # nothing was returned
                self._doubt()
                raise
            if self._lately is not None:
                for batch in batches:
                    self._lately.read(batch)
            if batches or left_s <= _BLOCK_S:
                return batches

    def _read(self, max_records: int, block_s: float) -> list[Batch]:
        positions = {name: self._next[partition] for name, partition in self._partition_of.items()}
        streams = self._redis.follow(f"read {self._topic}", positions, max_records, block_s)
        return [self._batch(self._partition_of[name], entries) for name, entries in streams]

    def _batch(self, partition: int, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> Batch:
        """Return a reading of one partition. An entry that is no record of ours has another id than `<offset>-1`; one
        that was erased is passed by.
        """
        start = self._next[partition]
        messages = [Message(int(name[:-2]), fields[1]) for name, fields in entries if name.endswith(b"-1")]
        if not messages:
            raise OffsetTrimmed(self._topic, partition, start, int(entries[-1][0].partition(b"-")[0]) + 1)
        if messages[0].offset != start:
            raise OffsetTrimmed(self._topic, partition, start, messages[0].offset)
        self._next[partition] = messages[-1].offset + 1
        kept = [one for one in messages if one.value != ERASED]
        return Batch(self._topic, partition, start, self._next[partition], kept)

    def _connects(self) -> None:
        self.connections += 1
        self._doubt()

    def _doubt(self) -> None:
        """Verify every offset before anything is returned: a Redis that came back may have lost its last second."""
        self._unverified.update(self._next)

    def _verify(self, wanted: Mapping[int, int]) -> None:
        """Look whether the log has what stands at the wanted offsets, and before them what was read."""
        bounds = self._bounds(sorted(self._unverified))
        if self._lately is not None:
            self._expect_as_read(self._lately, wanted, bounds)
        for partition, (earliest, end) in bounds.items():
            if not earliest <= wanted[partition] <= self._next[partition] <= end:
                raise OffsetTrimmed(self._topic, partition, wanted[partition], earliest)
        self._unverified.clear()

    def _expect_as_read(
        self, lately: ReadLately, wanted: Mapping[int, int], bounds: Mapping[int, tuple[int, int]]
    ) -> None:
        """Raise LogWentBack for a partition that holds other records than were read of it; for one that ends before
        what is wanted, and of which nothing was read here, at what the group told the log: that went back with it.
        """
        newest = {partition: at for partition in bounds if (at := lately.newest(partition)) is not None}
        for partition, last in self._held({partition: (at, at) for partition, at in newest.items()}).items():
            if lately.parts_at(partition, newest[partition], last) is None:
                continue
            earliest, end = bounds[partition]
            begin = max(lately.first(partition) or 0, earliest)
            held = self._held({partition: (begin, newest[partition])})[partition]
            if (parted := lately.parts_at(partition, begin, held)) is not None:
                raise LogWentBack(self._topic, partition, wanted[partition], min(parted, end))
        for partition, (earliest, end) in bounds.items():
            if wanted[partition] > end:
                told = min(self._committed(partition), end)
                raise LogWentBack(self._topic, partition, wanted[partition], max(told, earliest))

    def _committed(self, partition: int) -> int:
        key = self._keys.log_groups(self._topic, partition)
        [found] = self._redis.look(f"look at {self._topic}", [("HGET", key, self._group)])
        return whole(found) or 0

    def _held(self, ranges: Mapping[int, tuple[int, int]]) -> dict[int, list[Message]]:
        """Return the records of partitions from one offset to another, as far as they are there."""
        commands = [
            ("XRANGE", self._keys.log(self._topic, partition), f"{first}-1", f"{last}-1")
            for partition, (first, last) in ranges.items()
        ]
        answers = self._redis.run(f"look at {self._topic}", commands)
        return {
            partition: [Message(_offset_of(entry), entry[1][1]) for entry in entries if entry[0].endswith(b"-1")]
            for partition, entries in zip(ranges, answers, strict=True)
        }

    def _bounds(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return (oldest offset kept, end) of each partition."""
        commands: list[Command] = []
        for partition in partitions:  # the end first: a record appended in between must not count as trimmed
            commands.append(("GET", self._keys.log_end(self._topic, partition)))
            commands.append(("XRANGE", self._keys.log(self._topic, partition), "-", "+", "COUNT", 1))
            commands.append(("XREVRANGE", self._keys.log(self._topic, partition), "+", "-", "COUNT", 1))
        answers = self._redis.run(f"look at {self._topic}", commands)
        bounds: dict[int, tuple[int, int]] = {}
        for at, partition in enumerate(partitions):
            counter, oldest, newest = answers[3 * at : 3 * at + 3]
            end = whole(counter)
            if end is None:  # as the next append will have it
                end = _offset_of(newest[0]) + 1 if newest else 0
            bounds[partition] = (_offset_of(oldest[0]) if oldest else end, end)
        return bounds

    def ends(self) -> Mapping[int, int]:
        return {partition: end for partition, (_, end) in self._bounds(list(self._next)).items()}

    def earliest(self) -> Mapping[int, int]:
        return {partition: oldest for partition, (oldest, _) in self._bounds(list(self._next)).items()}

    def commit(self, partition: int, next_offset: int) -> None:
        key = self._keys.log_groups(self._topic, partition)
        self._redis.run(f"commit {self._topic}", [_COMMIT.command((key,), (self._group, next_offset))])

    def hold(self, partition: int, offset: int) -> None:
        key = self._keys.log_groups(self._topic, partition)
        self._redis.run(f"hold {self._topic}", [_COMMIT.command((key,), (holder(self._group), offset))])

    def close(self) -> None:
        self._redis.close()


def _offset_of(entry: tuple[bytes, Sequence[bytes]]) -> int:
    return int(entry[0].partition(b"-")[0])
