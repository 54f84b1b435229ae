"""The scripts of a change table: what Redis does by itself, in one go."""

from __future__ import annotations

from contracts.redis_answers import WHOLE_LUA

COMMIT = (
    WHOLE_LUA
    + """
if ARGV[1] ~= '' then
  forget_other_kind(KEYS[4], 'hash')
  local stored = whole(redis.call('HGET', KEYS[4], ARGV[1])) or 0
  if stored ~= tonumber(ARGV[2]) then return {0, stored} end
end
local number = whole(redis.pcall('GET', KEYS[3])) or 0
local function add(what, count, parts)
  local id = string.format('%.0f-1', number + count - 1)
  return redis.pcall('XADD', KEYS[2], id, what, count, unpack(parts))
end
local function tell(what, count, parts)
  local told = add(what, count, parts)
  if told.err then
    local top = newest_of(KEYS[2])
    if not top or top < number then return told end
    number = top + 1
    told = add(what, count, parts)
    if told.err then return told end
  end
  number = number + count
end
local puts, counts = 2 * tonumber(ARGV[5]), ARGV[7] == '1'
for at = 8, puts + 7, 32 do
  local pairs = {unpack(ARGV, at, math.min(at + 31, puts + 7))}
  local refused = tell('put', #pairs / 2, pairs)
  if refused then return refused end
  if counts then
    local more = 0
    for i = 1, #pairs, 2 do more = more + #pairs[i + 1] - redis.call('HSTRLEN', KEYS[1], pairs[i]) end
    redis.call('INCRBY', KEYS[7], more)
  end
  redis.call('HSET', KEYS[1], unpack(pairs))
end
for at = puts + 8, #ARGV, 16 do
  local keys = {unpack(ARGV, at, math.min(at + 15, #ARGV))}
  local count = #keys
  local parts = keys
  if count % 2 == 1 then parts = {unpack(keys)}; parts[count + 1] = '' end
  local refused = tell('delete', count, parts)
  if refused then return refused end
  if counts then
    local less = 0
    for _, key in ipairs(keys) do less = less + redis.call('HSTRLEN', KEYS[1], key) end
    redis.call('DECRBY', KEYS[7], less)
  end
  redis.call('HDEL', KEYS[1], unpack(keys))
end
redis.call('SET', KEYS[3], string.format('%.0f', number))
if ARGV[1] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[3]) end
local from, size, most = number - tonumber(ARGV[4]), 0, tonumber(ARGV[6])
for at = 8, #ARGV do size = size + #ARGV[at] end
local total = redis.pcall('INCRBY', KEYS[5], size)
if type(total) ~= 'number' then
  redis.call('SET', KEYS[5], size)
  redis.call('DEL', KEYS[6])
  total = size
end
if math.floor(16 * total / most) > math.floor(16 * (total - size) / most) then
  local old = -1
  forget_other_kind(KEYS[6], 'list')
  for at, mark in ipairs(redis.call('LRANGE', KEYS[6], 0, -1)) do
    local told, before = string.match(mark, '^(%d+):(%d+)$')
    if told and total - tonumber(before) >= most then from, old = math.max(from, tonumber(told)), at - 1 end
  end
  if old > 0 then redis.call('LTRIM', KEYS[6], old, -1) end
  redis.call('RPUSH', KEYS[6], string.format('%.0f:%.0f', number, total))
end
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(from, 0)))
return {1, number}
"""
)
"""A call costs Redis 4 us, whatever it does, so an entry of the stream tells of several changes. Its id is the number
of the last one; its fields are `put` and how many, then a key and a row each; or `delete` and how many, then the keys.

Redis takes nothing back of a script that is refused half-way, so the source's offset moves last: what was not done is
done again. Each sixteenth of the bytes that the stream may have, a mark says which number had how many before it.
Where the counter was lost, is no number, or stands behind the stream, numbers go on behind the stream's newest: readers
notice the gap, and load the rows. An offset that is none counts as 0: changes are absolute. Bytes that cannot be are
counted anew.
"""
HOLDS = """
local found = {}
for at = 1, #ARGV[1], 8 do
  found[#found + 1] = redis.call('HEXISTS', KEYS[1], string.sub(ARGV[1], at, at + 7))
end
return table.concat(found)
"""
SCAN_KEYS = """
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local keys = {}
for at = 1, #page[2], 2 do keys[#keys + 1] = page[2][at] end
return {page[1], table.concat(keys)}
"""
"""HSCAN has rows alone to give before Redis 7.4: so much is not sent to be thrown away."""
