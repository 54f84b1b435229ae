"""What of the Redis log goes for its age: records from before a moment, behind what flows have applied."""

from __future__ import annotations

from typing import Final

import orjson

from contracts.keys import Keys
from contracts.redis_answers import WHOLE_LUA
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.redis_append import BLOCKING_GROUP, HOLDING_GROUP, holder
from eventlog.redis_calls import Caller, Command, Script

_PAGE: Final = 200
_TRIM = Script(
    WHOLE_LUA
    + """
forget_other_kind(KEYS[1], 'stream')
local keep_from = tonumber(ARGV[1])
local told = redis.pcall('HMGET', KEYS[2], ARGV[2], ARGV[3])
if ARGV[2] ~= '' then keep_from = math.min(keep_from, whole(told[1]) or 0) end
local hold = whole(told[2])
if hold then keep_from = math.min(keep_from, hold) end
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-1', keep_from))
"""
)
"""As an append trims (`eventlog.redis_append`), but for the number and bytes."""


class LogRetention:
    """For one thread. Raises LogUnavailable."""

    def __init__(self, log: LogSettings, redis: RedisSettings) -> None:
        self._log, self._keys, self._redis = log, Keys(redis.prefix), Caller(redis)

    def forget(self, topic: Topic, before_ms: int) -> int:
        """Take away a topic's records whose events are from before a moment (epoch ms), partition by partition up to
        the first that is not; returns how many went. A record that cannot be read goes with those around it.
        """
        return sum(self._forget(topic, partition, before_ms) for partition in range(self._log.partitions))

    def close(self) -> None:
        self._redis.close()

    def _forget(self, topic: Topic, partition: int, before_ms: int) -> int:
        keep_from = self._first_since(self._keys.log(topic, partition), before_ms)
        if keep_from is None:
            return 0
        keys = (self._keys.log(topic, partition), self._keys.log_groups(topic, partition))
        groups = BLOCKING_GROUP.get(topic, ""), holder(HOLDING_GROUP[topic]) if topic in HOLDING_GROUP else ""
        [gone] = self._redis.run(f"trim {topic}", [_TRIM.command(keys, (keep_from, *groups))])
        return int(gone)

    def _first_since(self, stream: str, before_ms: int) -> int | None:
        """Return the offset of the first record that stays; None where that is the first one."""
        start, keep_from = "-", None
        while True:
            page: Command = ("XRANGE", stream, start, "+", "COUNT", _PAGE)
            [found] = self._redis.look("read the log", [page])
            for name, fields in found or ():
                ts = _time_of(fields[1])
                if ts is not None and ts >= before_ms:
                    return keep_from
                keep_from = int(name.partition(b"-")[0]) + 1
            if not found or len(found) < _PAGE:
                return keep_from
            start = f"({found[-1][0].decode()}"


def _time_of(raw: bytes) -> int | None:
    """Return the time of an event; None for a record that is none."""
    try:
        ts = orjson.loads(raw)["ts"]
    except (ValueError, KeyError, TypeError):
        return None
    return ts if isinstance(ts, int) else None
