"""How a partition of the Redis log takes records, and what of it is trimmed: the one script of an append.

The rule, by partition of a topic, of which `kept_from` in the tests is the plain form:

- What the blocking group (the flow that must apply each record) has not applied stays. When that is too much, in
  records or in bytes, appends are refused.
- Of what it has applied, `kept_records` and `kept_bytes` stay at most.
- A holding group (the trends flow) says from where on it would have to read again. That stays too, however many records
  it is, up to `wait_bytes` more. Beyond that the oldest go, and the flow counts them as lost when it reads on.

Bytes are those of values. They are looked at whenever so many were appended (`step`): each time a mark is kept, which
offset had how many bytes before it, and the first mark is where the stream was trimmed to, or below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.keys import Keys
from contracts.settings import LogSettings
from eventlog.contract import Topic
from eventlog.redis_calls import Command, Script

BLOCKING_GROUP = {Topic.CLICKS: "sessions", Topic.ITEMS: "items"}
"""The consumer group that must apply every record. A topic without one is simply bounded."""
HOLDING_GROUP = {Topic.CLICKS: "trends", Topic.IMPRESSIONS: "trends"}
"""The consumer group that is waited for within bounds."""

FULL_OF_BYTES = -2
"""What an append answers instead of its first offset when the backlog has too many bytes; -1 of too many records."""
_MARKS = 16
"""Marks in the smallest of the limits: how exact it is."""

_APPEND = Script(
    """
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local told = redis.call('HMGET', KEYS[3], ARGV[3], ARGV[8])
local hold = tonumber(told[2])
local applied = last
if ARGV[3] ~= '' then applied = tonumber(told[1] or '0') end
local limit = tonumber(ARGV[1])
if limit > 0 and last - applied >= limit then return {-1, last - applied} end
local size = 0
for i = 9, #ARGV do size = size + #ARGV[i] end
local total = redis.call('INCRBY', KEYS[4], size)
local step = tonumber(ARGV[7])
local marks = nil
if math.floor(total / step) > math.floor((total - size) / step) then
  marks = {}
  for i, mark in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do
    local offset, before = string.match(mark, '^(%d+):(%d+)$')
    marks[i] = {tonumber(offset), tonumber(before)}
  end
  if applied < last then
    local done = 0
    for _, mark in ipairs(marks) do if mark[1] <= applied then done = mark[2] end end
    if total - size - done >= tonumber(ARGV[4]) then
      redis.call('DECRBY', KEYS[4], size)
      return {-2, total - size - done}
    end
  end
end
local first = last
for i = 9, #ARGV do
  redis.call('XADD', KEYS[1], last .. '-1', 'v', ARGV[i])
  last = last + 1
end
redis.call('SET', KEYS[2], last)
if ARGV[3] == '' then applied = last end
local keep_from = last - tonumber(ARGV[2])
local by_limit = 0
if marks then
  local kept = tonumber(ARGV[5])
  for _, mark in ipairs(marks) do
    if total - mark[2] >= kept then keep_from = math.max(keep_from, mark[1]) end
    if total - mark[2] >= kept + tonumber(ARGV[6]) then by_limit = mark[1] end
  end
end
if hold and hold < keep_from then keep_from = math.max(hold, by_limit) end
keep_from = math.min(applied, keep_from)
if keep_from > 0 then redis.call('XTRIM', KEYS[1], 'MINID', '~', keep_from .. '-1') end
if marks then
  redis.call('RPUSH', KEYS[5], string.format('%.0f:%.0f', last, total))
  local trimmed = 0
  for i, mark in ipairs(marks) do if mark[1] <= keep_from then trimmed = i - 1 end end
  if trimmed > 0 then redis.call('LTRIM', KEYS[5], trimmed, -1) end
end
return {first, last - applied}
"""
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a partition is kept: see above. `max_backlog` 0 is no limit of records."""

    max_backlog: int
    kept_records: int
    blocking: str
    max_backlog_bytes: int
    kept_bytes: int
    wait_bytes: int
    step: int
    holding: str

    @classmethod
    def of(cls, topic: Topic, log: LogSettings, max_backlog: int) -> Kept:
        """Return what the settings, which are of a whole topic, allow one of its partitions."""
        backlog, kept, wait = map(log.share, (log.max_backlog_bytes, log.kept_bytes, log.wait_bytes))
        holding = holder(HOLDING_GROUP[topic]) if wait and topic in HOLDING_GROUP else ""
        step = max(1, min(one for one in (backlog, kept, wait) if one) // _MARKS)
        blocking = BLOCKING_GROUP.get(topic, "")
        return cls(max_backlog, log.kept_records, blocking, backlog, kept, wait, step, holding)

    @property
    def arguments(self) -> tuple[int | str, ...]:
        """What the script is given before the values."""
        limits = (self.max_backlog_bytes, self.kept_bytes, self.wait_bytes, self.step)
        return (self.max_backlog, self.kept_records, self.blocking, *limits, self.holding)


def holder(group: str) -> str:
    """Return under which name a group says from where on it would have to read again."""
    return f"{group}:hold"


def append(keys: Keys, topic: Topic, partition: int, kept: Kept, values: Sequence[bytes]) -> Command:
    """Return the command that appends values. Its answer is the first one's offset, or below zero, and the backlog."""
    names = (keys.log, keys.log_end, keys.log_groups, keys.log_bytes, keys.log_marks)
    return _APPEND.command([name(topic, partition) for name in names], (*kept.arguments, *values))
