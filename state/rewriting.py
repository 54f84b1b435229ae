"""Streams that are written again: what is deleted from a stream stays in its memory and in Redis's files until all its
neighbours are gone too. So an erasure copies the stream, with other values or without what was deleted, a slice at a
time, and puts the copy in place.

Ids stay as they are, and so do offsets. What is added meanwhile is copied too; the last slice and the exchange are one
script. A copy that a kill left behind is begun anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

AT_ONCE: Final = 400
"""Entries that one script copies: about a millisecond of Redis's time."""
PAUSE_S: Final = 0.001
"""Between two slices, so that requests find Redis free."""
_TRIES: Final = 5
_GO_ON, _AGAIN, _DONE = "go on", "again", "done"
_PUT: Final = """
local changed = {}
for i = 3, #ARGV, 2 do changed[ARGV[i]] = ARGV[i + 1] end
local function put(found)
  for _, entry in ipairs(found) do
    if changed[entry[1]] then entry[2][2] = changed[entry[1]] end
    redis.call('XADD', KEYS[2], entry[1], unpack(entry[2]))
  end
end
"""
_COPY: Final = f"""{_PUT}
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
put(found)
return {{#found, #found > 0 and found[#found][1] or ''}}
"""
_SETTLE: Final = f"""{_PUT}
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2] + 1)
if #found > tonumber(ARGV[2]) then return '{_GO_ON}' end
put(found)
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then
  redis.call('DEL', KEYS[1], KEYS[2])
  return '{_DONE}'
end
redis.call('XTRIM', KEYS[2], 'MINID', first[1])
if redis.call('XLEN', KEYS[2]) ~= redis.call('XLEN', KEYS[1]) then
  redis.call('DEL', KEYS[2])
  return '{_AGAIN}'
end
redis.call('RENAME', KEYS[2], KEYS[1])
return '{_DONE}'
"""
"""What was trimmed meanwhile does not come back; where others took entries out of the middle, the copy is made anew."""


def rewrite(
    settings: RedisSettings,
    stream: str,
    changes: Mapping[bytes, bytes],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write a stream again, with the value of the first field of some entries replaced, by id.

    Raises StateUnavailable, with the stream as it was: it can be tried again.
    """
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        scripts = client.register_script(_COPY), client.register_script(_SETTLE)
        keys = [stream, Keys(settings.prefix).rewriting(stream)]
        ordered = sorted(changes.items(), key=lambda one: _place(one[0]))
        for _ in range(_TRIES):
            client.delete(keys[1])
            if _copied(*scripts, keys, ordered, sleep):
                return
    raise StateUnavailable(f"the stream {stream} was changed {_TRIES} times while it was written again: try again")


def _copied(
    copy: Any, settle: Any, keys: list[str], changes: list[tuple[bytes, bytes]], sleep: Callable[[float], None]
) -> bool:
    """Copy and exchange once; False where others took something out meanwhile."""
    start, done = b"-", 0
    while True:
        next_ones = [part for pair in changes[done : done + 2 * AT_ONCE] for part in pair]
        count, end = copy(keys=keys, args=[start, AT_ONCE, *next_ones])
        if count:
            start = b"(" + end
            while done < len(changes) and _place(changes[done][0]) <= _place(end):
                done += 1
        if count < AT_ONCE:
            rest = [part for pair in changes[done : done + 2 * AT_ONCE] for part in pair]
            outcome = settle(keys=keys, args=[start, AT_ONCE, *rest]).decode()
            if outcome != _GO_ON:
                return bool(outcome == _DONE)
        sleep(PAUSE_S)


def _place(entry: bytes) -> tuple[int, int]:
    number, _, part = entry.partition(b"-")
    return int(number), int(part or 0)
