"""Dead letters in Redis: a stream a partition, bounded in letters and bytes, and the sources of the letters it holds.

A source that names a log record (`clicks:3:88121`) is kept once for as long as its letter is kept, whatever the order
in which letters come. Any other source (`gateway`) is kept each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, KeptLetter, Position
from eventlog.redis_calls import Caller, Command, Script

KEPT_LETTERS = 10_000
"""Dead letters kept per partition, in either log; the oldest go first."""

_PAGE = 100
"""Letters read in one round trip."""
_REMOVED_AT_ONCE = 500

_WRITE = Script(
    """
local bound, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local bytes = tonumber(redis.call('GET', KEYS[4]) or '0')
for i = 3, #ARGV, 5 do
  local named = string.find(ARGV[i], '^%w+:%d+:%d+$')
  if not named or redis.call('ZADD', KEYS[3], 'NX', last, ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], last .. '-1',
      'source', ARGV[i], 'reason', ARGV[i + 1], 'detail', ARGV[i + 2], 'at', ARGV[i + 3], 'raw', ARGV[i + 4])
    last = last + 1
    for part = i, i + 4 do bytes = bytes + #ARGV[part] end
  end
end
local left = redis.call('XLEN', KEYS[1])
while left > bound or (bytes > most and left > 1) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  for part = 2, #oldest[2], 2 do bytes = bytes - #oldest[2][part] end
  redis.call('XDEL', KEYS[1], oldest[1])
  left = left - 1
end
redis.call('SET', KEYS[2], last)
redis.call('SET', KEYS[4], string.format('%.0f', math.max(bytes, 0)))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', last - bound - 1)
return last
"""
)
_REMOVE = Script(
    """
local bytes = tonumber(redis.call('GET', KEYS[2]) or '0')
for i = 1, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if found then
    for part = 2, #found[2], 2 do bytes = bytes - #found[2][part] end
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(bytes, 0)))
"""
)


def dead_letter_commands(keys: Keys, log: LogSettings, letters: Sequence[DeadLetter]) -> list[Command]:
    """Return one command a partition that keeps these letters, in the order given."""
    arguments: dict[int, list[Any]] = {}
    bounds = [KEPT_LETTERS, log.share(log.dead_letter_bytes)]
    for letter in letters:
        arguments.setdefault(letter.partition, [*bounds]).extend(
            (letter.source, letter.reason, letter.detail, letter.at_ms, letter.raw)
        )
    return [_WRITE.command(_keys_of(keys, partition), values) for partition, values in arguments.items()]


def _keys_of(keys: Keys, partition: int) -> tuple[str, str, str, str]:
    """The letters, how many there ever were, the sources of those kept (sorted set, by the letter's number), and their
    bytes.
    """
    dead = keys.dead_letters(partition), keys.log_end("dead", partition)
    return *dead, keys.log("dead", partition), keys.log_bytes("dead", partition)


class RedisDeadLetters:
    """DeadLetterReader on Redis."""

    def __init__(self, log: LogSettings, redis: RedisSettings) -> None:
        keys = Keys(redis.prefix)
        self._streams = [keys.dead_letters(partition) for partition in range(log.partitions)]
        self._bytes = [keys.log_bytes("dead", partition) for partition in range(log.partitions)]
        self._redis = Caller(redis)

    def read(self, max_letters: int) -> list[DeadLetter]:
        commands: list[Command] = [("XREVRANGE", stream, "+", "-", "COUNT", max_letters) for stream in self._streams]
        answers = self._redis.run("read dead letters", commands) if max_letters > 0 else []
        letters = [_letter(partition, entry) for partition, found in enumerate(answers) for entry in reversed(found)]
        letters.sort(key=lambda letter: letter.at_ms)
        return letters[max(0, len(letters) - max_letters) :]

    def count(self) -> int:
        return sum(self._redis.run("count dead letters", [("XLEN", stream) for stream in self._streams]))

    def kept(self, partitions: Collection[int] | None = None) -> Iterator[KeptLetter]:
        for partition in partitions_of(partitions, len(self._streams)):
            last: Command = ("XREVRANGE", self._streams[partition], "+", "-", "COUNT", 1)
            [newest] = self._redis.run("read dead letters", [last])
            if newest:
                yield from self._up_to(partition, _number(newest[0]))

    def _up_to(self, partition: int, last: int) -> Iterator[KeptLetter]:
        """Yield a partition's letters up to the one with this number, a page at a time."""
        start = 0
        while start <= last:
            page: Command = ("XRANGE", self._streams[partition], f"{start}-0", f"{last}-1", "COUNT", _PAGE)
            [found] = self._redis.run("read dead letters", [page])
            if not found:
                return
            for entry in found:
                yield KeptLetter(Position(partition, _number(entry)), _letter(partition, entry))
            start = _number(found[-1]) + 1

    def remove(self, letters: Sequence[KeptLetter]) -> None:
        """As DeadLetterReader says. Their sources stay known as long as if the letters were kept."""
        by_partition: dict[int, list[str]] = {}
        for partition, number in (one.position for one in letters):
            by_partition.setdefault(partition, []).append(f"{number}-1")
        commands: list[Command] = [
            _REMOVE.command((self._streams[partition], self._bytes[partition]), numbers[at : at + _REMOVED_AT_ONCE])
            for partition, numbers in by_partition.items()
            for at in range(0, len(numbers), _REMOVED_AT_ONCE)
        ]
        self._redis.run_kept("remove dead letters", commands)

    def close(self) -> None:
        self._redis.close()


def partitions_of(asked: Collection[int] | None, count: int) -> Sequence[int]:
    """Return the partitions asked for, in order; all of `count` when None. Raises ValueError for any other."""
    if asked is None:
        return range(count)
    for partition in asked:
        if not 0 <= partition < count:
            raise ValueError(f"expected a partition from 0 to {count - 1} (log.partitions), got {partition}")
    return sorted(set(asked))


def _number(entry: tuple[bytes, Sequence[bytes]]) -> int:
    return int(entry[0][:-2])  # id: b"<number>-1"


def _letter(partition: int, entry: tuple[bytes, Sequence[bytes]]) -> DeadLetter:
    _, (_, source, _, reason, _, detail, _, at_ms, _, raw) = entry
    return DeadLetter(source.decode(), partition, reason.decode(), detail.decode(), int(at_ms), raw)
