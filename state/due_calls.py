"""Calls that wait until they are due, in Redis: bounded, taken up by one process at a time, and back again where that
process died.

A sorted set by due time, as a stream cannot tell what is due. Whoever takes a call up moves it on by a lease: what is
not said to be done by then is due again, whoever was killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.redis_rounds import RedisRounds

_PUT: Final = f"""{WHOLE_LUA}
forget_other_kind(KEYS[1], 'zset')
forget_other_kind(KEYS[2], 'hash')
forget_other_kind(KEYS[3], 'hash')
forget_other_kind(KEYS[4], 'zset')
local since = ARGV[1]
if ARGV[3] ~= '' then
  since = redis.call('ZSCORE', KEYS[4], ARGV[3]) or since
  redis.call('ZREM', KEYS[4], ARGV[3])
  redis.call('ZREM', KEYS[1], ARGV[3])
  redis.call('HDEL', KEYS[2], ARGV[3], ARGV[3] .. ':tries')
end
local put, room = 0, tonumber(ARGV[2]) - redis.call('ZCARD', KEYS[1])
for at = 4, #ARGV, 2 do
  if not redis.call('ZSCORE', KEYS[1], ARGV[at]) then
    if put < room then
      redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
      redis.call('ZADD', KEYS[1], ARGV[1], ARGV[at])
      redis.call('ZADD', KEYS[4], since, ARGV[at])
      put = put + 1
    else
      redis.call('HINCRBY', KEYS[3], 'left_out', 1)
    end
  end
end
return put
"""
_TAKE: Final = f"""{WHOLE_LUA}
forget_other_kind(KEYS[1], 'zset')
forget_other_kind(KEYS[2], 'hash')
forget_other_kind(KEYS[4], 'zset')
while true do
  local first = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
  if not first or redis.call('ZSCORE', KEYS[1], first) then break end
  redis.call('ZREM', KEYS[4], first)
end
local taken = {{}}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local body = redis.call('HGET', KEYS[2], name)
  if body then
    local tries = (whole(redis.call('HGET', KEYS[2], name .. ':tries')) or 0) + 1
    redis.call('HSET', KEYS[2], name .. ':tries', tries)
    redis.call('ZADD', KEYS[1], ARGV[2], name)
    taken[#taken + 1] = name
    taken[#taken + 1] = body
    taken[#taken + 1] = tries
  else
    redis.call('ZREM', KEYS[1], name)
    redis.call('ZREM', KEYS[4], name)
  end
end
return taken
"""
"""A release that knows nothing of KEYS[4] may run beside this one: what it did away with is taken off there."""
_FAILED: Final = """
if ARGV[#ARGV] ~= '' then
  forget_other_kind(KEYS[5], 'list')
  redis.call('LPUSH', KEYS[5], ARGV[#ARGV])
  redis.call('LTRIM', KEYS[5], 0, ARGV[#ARGV - 1] - 1)
end
"""
"""The last two words: how many failures are kept, and this one, or nothing."""
_DONE: Final = f"""{WHOLE_LUA}
forget_other_kind(KEYS[3], 'hash')
forget_other_kind(KEYS[4], 'zset')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1], ARGV[1] .. ':tries')
redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
{_FAILED}"""
_AGAIN: Final = f"""{WHOLE_LUA}
redis.call('ZADD', KEYS[1], 'XX', ARGV[1], ARGV[2])
{_FAILED}"""
OUTCOMES: Final = ("delivered", "dead", "left_out")
"""What becomes of calls."""
_SHAS: Final = {text: hashlib.sha1(text.encode()).hexdigest() for text in (_PUT, _TAKE, _DONE, _AGAIN)}
MOST_FAILURES: Final = 20
"""Failures that are kept, the newest."""


class DueCall(NamedTuple):
    """A call that was taken up, for the `attempt`-th time (from 1)."""

    name: str
    body: bytes
    attempt: int


class Failure(NamedTuple):
    """An attempt that was not taken. `over`: there will be no other."""

    name: str
    at_ms: int
    attempt: int
    why: str
    about: str
    over: bool


class Queue(NamedTuple):
    """How a queue stands: what waits, of it what is due, when the oldest came and the next is due (epoch ms; None where
    nothing waits), what became of calls since the queue began, and the newest failures.
    """

    waiting: int
    due: int
    oldest_ms: int | None
    next_ms: int | None
    counts: dict[str, int]
    failures: list[Failure]


class DueCalls:
    """One queue of calls. For one thread at a time. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, queue: str, *, most: int) -> None:
        self._settings, self._most = settings, most
        self._redis = connect(settings)
        self._rounds = RedisRounds(self._redis)
        keys = Keys(settings.prefix)
        names = (keys.due_calls, keys.calls, keys.call_counts, keys.calls_since, keys.call_failures)
        self._keys = tuple(name(queue) for name in names)

    def put(self, calls: Sequence[tuple[str, bytes]], due_ms: int, *, instead_of: str = "") -> int:
        """Put calls as (name, body), and let go the one that they come `instead_of`, in one go. One whose name waits
        already stays as it is. Returns how many there was room for; the others are counted as `left_out`.
        """
        flat = [part for call in calls for part in call]
        return int(self._script(_PUT, due_ms, self._most, instead_of, *flat)) if calls or instead_of else 0

    def take(self, now_ms: int, lease_ms: int, count: int) -> list[DueCall]:
        """Take up calls that are due, at most `count`. They are due again once the lease is over."""
        found = self._script(_TAKE, now_ms, now_ms + lease_ms, count)
        return [
            DueCall(name.decode(errors="replace"), body, int(tries))
            for name, body, tries in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    def again(self, name: str, due_ms: int, failure: Failure | None = None) -> None:
        """Say when a call that was taken up is due again, and why it failed."""
        self._script(_AGAIN, due_ms, name, MOST_FAILURES, _told(failure))

    def done(self, name: str, outcome: str, failure: Failure | None = None) -> None:
        """Let a call go, and count what became of it; `failure`: why it was not taken."""
        self._script(_DONE, name, outcome, MOST_FAILURES, _told(failure))

    def look(self, now_ms: int) -> Queue:
        """Return how the queue stands, in one round trip."""
        due, _, _, since, failures = self._keys
        first = ("ZRANGE", since, 0, 0, "WITHSCORES"), ("ZRANGE", due, 0, 0, "WITHSCORES")
        ready, oldest, next, failed = self._ask(
            ("ZCOUNT", due, "-inf", now_ms), *first, ("LRANGE", failures, 0, MOST_FAILURES - 1)
        )
        counts = self.counts()
        return Queue(
            counts.pop("waiting"),
            ready if isinstance(ready, int) else 0,
            _moment(oldest),
            _moment(next),
            counts,
            [one for one in map(_failure, failed if isinstance(failed, list) else []) if one is not None],
        )

    def counts(self) -> dict[str, int]:
        """Return what became of calls since the queue began, and how many are `waiting`."""
        waiting, found = self._ask(("ZCARD", self._keys[0]), ("HMGET", self._keys[2], *OUTCOMES))
        numbers = found if isinstance(found, list) else [None] * len(OUTCOMES)
        counts = {name: whole(number) or 0 for name, number in zip(OUTCOMES, numbers, strict=True)}
        return {**counts, "waiting": waiting if isinstance(waiting, int) else 0}

    def close(self) -> None:
        self._rounds.close()
        self._redis.close()

    def _script(self, text: str, *words: Any) -> Any:
        with redis_errors_translated(self._settings):
            [answer] = self._rounds.scripts(_SHAS[text], text, [[len(self._keys), *self._keys, *words]])
        return answer

    def _ask(self, *commands: Sequence[Any]) -> list[Any]:
        with redis_errors_translated(self._settings):
            return self._rounds.ask(commands)


def _told(failure: Failure | None) -> bytes:
    return b"" if failure is None else orjson.dumps(failure._asdict())


def _failure(raw: Any) -> Failure | None:
    """Read a failure; None for what is none."""
    try:
        found = Failure(**orjson.loads(raw))
    except (ValueError, TypeError):
        return None
    wanted = (str, int, int, str, str, bool)
    return found if all(type(value) is kind for value, kind in zip(found, wanted, strict=True)) else None


def _moment(found: Any) -> int | None:
    """Return the score of the first of a sorted set, None where there is none. RESP3 answers pairs, RESP2 a row."""
    try:
        return int(float(found[0][1] if isinstance(found[0], list) else found[1]))
    except (TypeError, ValueError, LookupError, OverflowError):
        return None
