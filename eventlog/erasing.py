"""Records of a visitor in the log: found, and emptied where they stand.

In a Redis log a record that is erased keeps its place and its offset, with ERASED for a value: readers pass it by, so
nothing is taken for lost, and flows, replays and recovery go on as before. Kafka keeps what it was given until its
topic lets go of it: what a record says there cannot be taken out, see `docs/erasure.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from contracts.errors import LogUnavailable, StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import whole
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import ERASED, DeadLetter, KeptLetter, Message, Topic
from eventlog.redis_calls import Caller, Script
from eventlog.redis_dead_letters import RedisDeadLetters
from state.rewriting import rewrite

OF_VISITORS: Final = (Topic.CLICKS, Topic.IMPRESSIONS)
"""Topics that hold what visitors did and saw."""
_PAGE: Final = 1000
_LOOKED_AT: Final = 800
"""Records that one script looks at: about a millisecond of Redis's time."""
_PAUSE_S: Final = 0.0005
_ESCAPE: Final = b"\\"
_FIND = Script(
    """
local entries, found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]), {}
for _, entry in ipairs(entries) do
  local value = entry[2][2]
  for i = 3, #ARGV do
    if string.find(value, ARGV[i], 1, true) then
      found[#found + 1] = entry[1]
      found[#found + 1] = value
      break
    end
  end
end
return {#entries, #entries > 0 and entries[#entries][1] or '', found}
"""
)


@dataclass(frozen=True, slots=True)
class Holding:
    """Whether a record holds one of a few texts, or an escape. Redis itself can look for it."""

    needles: tuple[bytes, ...]

    def __call__(self, value: bytes) -> bool:
        return _ESCAPE in value or any(one in value for one in self.needles)


class RedisLogEraser:
    """For one thread. Raises LogUnavailable."""

    def __init__(self, log: LogSettings, redis: RedisSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self._log, self._settings, self._sleep = log, redis, sleep
        self._keys = Keys(redis.prefix)
        self._redis = Caller(redis)
        self._letters = RedisDeadLetters(log, redis)

    def ends(self) -> dict[str, int]:
        """Return the offset that the next record gets, by `topic:partition`."""
        places = [(topic, partition) for topic in OF_VISITORS for partition in range(self._log.partitions)]
        commands = [("GET", self._keys.log_end(topic, partition)) for topic, partition in places]
        answers = self._redis.look("look at the log", commands)
        return {f"{topic}:{at}": whole(end) or 0 for (topic, at), end in zip(places, answers, strict=True)}

    def records(self, topic: Topic, partition: int, wanted: Callable[[bytes], bool]) -> Iterator[Message]:
        """Yield the records of a partition whose bytes are wanted, in their order."""
        stream, start = self._keys.log(topic, partition), "-"
        if isinstance(wanted, Holding):
            yield from self._held(topic, stream, wanted)
            return
        while True:
            [found] = self._redis.look(f"read {topic}", [("XRANGE", stream, start, "+", "COUNT", _PAGE)])
            for name, fields in found or ():
                if wanted(fields[1]):
                    yield Message(int(name.partition(b"-")[0]), fields[1])
            if not found or len(found) < _PAGE:
                return
            start = f"({found[-1][0].decode()}"
            self._sleep(_PAUSE_S)

    def _held(self, topic: Topic, stream: str, wanted: Holding) -> Iterator[Message]:
        """The same, looked for by Redis: nothing but what is wanted travels."""
        start: bytes | str = "-"
        while True:
            asked = _FIND.command((stream,), (start, _LOOKED_AT, _ESCAPE, *wanted.needles))
            [(count, last, found)] = self._redis.run(f"look into {topic}", [asked])
            for name, value in zip(found[::2], found[1::2], strict=True):
                yield Message(int(name.partition(b"-")[0]), value)
            if count < _LOOKED_AT:
                return
            start = b"(" + last
            self._sleep(_PAUSE_S)

    def empty(self, topic: Topic, partition: int, offsets: Collection[int]) -> None:
        """Take the values out of records. What a kill leaves undone can be done again."""
        if offsets:
            changes = {b"%d-1" % offset: ERASED for offset in offsets}
            self._rewrite(self._keys.log(topic, partition), changes)

    def letters(self, wanted: Callable[[DeadLetter], bool]) -> list[KeptLetter]:
        """Return the dead letters that are wanted."""
        return [one for one in self._letters.kept() if wanted(one.letter)]

    def remove_letters(self, letters: Collection[KeptLetter]) -> None:
        """Take dead letters out, also of Redis's memory and files."""
        self._letters.remove(list(letters))
        for partition in {one.position.partition for one in letters}:
            self._rewrite(self._keys.dead_letters(partition), {})

    def close(self) -> None:
        self._redis.close()
        self._letters.close()

    def _rewrite(self, stream: str, changes: dict[bytes, bytes]) -> None:
        try:
            rewrite(self._settings, stream, changes, sleep=self._sleep)
        except StateUnavailable as error:
            raise LogUnavailable(str(error)) from error


def open_eraser(
    log: LogSettings, redis: RedisSettings, sleep: Callable[[float], None] = time.sleep
) -> RedisLogEraser | None:
    """Return what empties records; None of a log that keeps what it was given. `sleep` is called between slices."""
    return RedisLogEraser(log, redis, sleep) if log.kind == "redis" else None


def holds_any(needles: Collection[bytes]) -> Holding:
    """Return what tells whether a record may name somebody: one of the names as JSON writes it, or any escape, behind
    which a name may hide.
    """
    return Holding(tuple(needles))
