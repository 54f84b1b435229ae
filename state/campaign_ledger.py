"""Which campaigns wrote to whom, in Redis: what frequency caps over campaigns count. For an event loop.

Users share hashes, a dozen a hash, so that a user costs some 60 bytes. A user's entry is what `campaigns.caps` packs:
16 bytes a campaign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import xxhash

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import redis_errors_translated
from state.redis_line import open_line, packed

KEPT_MS: Final = 90 * 86_400_000
"""How long it is kept that a campaign wrote: the longest period of a cap."""
BUCKETS: Final = 4096
"""Hashes of a partition."""
MOST: Final = 32
"""Campaigns that are kept of a user, the newest."""

_TAKE: Final = """
local own, at, since, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local kept_ms, longest = tonumber(ARGV[6]), tonumber(ARGV[7])
local taken = {}
for i, key in ipairs(KEYS) do
  local user = ARGV[7 + i]
  local raw = redis.pcall('HGET', key, user)
  if type(raw) == 'table' then
    redis.call('DEL', key)
    raw = false
  end
  raw = raw or ''
  if #raw % 16 ~= 0 then raw = '' end
  local kept, others = {}, 0
  for place = 1, #raw, 16 do
    local entry = string.sub(raw, place, place + 15)
    local when = struct.unpack('<i8', entry, 9)
    if string.sub(entry, 1, 8) ~= own and when > at - kept_ms then
      kept[#kept + 1] = entry
      if when > since then others = others + 1 end
    end
  end
  if most > 0 and others >= most then
    taken[i] = 0
  else
    taken[i] = 1
    kept[#kept + 1] = ARGV[2]
    while #kept > longest do table.remove(kept, 1) end
    redis.call('HSET', key, user, table.concat(kept))
    redis.call('PEXPIRE', key, ARGV[6])
  end
end
return taken
"""
"""Counts a campaign for users, in one step each, where the cap allows it: of two campaigns at once not both get the
last one. A campaign that was counted before is counted once, by its newest moment. A user who is capped is left as
they are, and so a run that goes on after a kill finds what it left.
"""
_GIVE_BACK: Final = b"""
for i, key in ipairs(KEYS) do
  local raw = redis.pcall('HGET', key, ARGV[1 + i])
  if type(raw) == 'string' and #raw % 16 == 0 then
    local kept = {}
    for place = 1, #raw, 16 do
      local entry = string.sub(raw, place, place + 15)
      if string.sub(entry, 1, 8) ~= ARGV[1] then kept[#kept + 1] = entry end
    end
    redis.call('HDEL', key, ARGV[1 + i])
    if #kept > 0 then redis.call('HSET', key, ARGV[1 + i], table.concat(kept)) end
  end
end
return 0
"""


class CampaignLedger:
    """Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, partitions: int, within_s: float | None = None) -> None:
        self._settings, self._partitions = settings, partitions
        self._line = open_line(settings, within_s=within_s)
        self._keys = Keys(settings.prefix)

    async def take(
        self, users: Sequence[str], entry: bytes, *, at_ms: int, since_ms: int = 0, most: int = 0
    ) -> list[bool]:
        """Count a campaign for users, except for whom others were counted `most` times after `since_ms`; 0 has no cap.
        `entry` is the campaign's, 16 bytes. Returns for whom it was counted, or had been before.
        """
        fixed = (entry[:8], entry, *(b"%d" % one for one in (at_ms, since_ms, most, KEPT_MS, MOST)))
        taken: dict[str, bool] = {}
        by_partition = list(self._by_partition(users).values())
        commands = [self._script((b"EVAL", _TAKE.encode()), part, fixed) for part in by_partition]
        for part, answer in zip(by_partition, await self._ask(commands), strict=True):
            taken.update(zip(part, (one == 1 for one in answer), strict=True))
        return [taken[user] for user in users]

    async def give_back(self, users: Sequence[str], entry: bytes) -> None:
        """Count a campaign for users no more: nothing was picked for them."""
        parts = list(self._by_partition(users).values())
        await self._ask([self._script((b"EVAL", _GIVE_BACK), part, (entry[:8],)) for part in parts])

    async def of(self, users: Sequence[str]) -> list[bytes | None]:
        """Return what is kept of users, in the order asked."""
        answers = await self._ask([(b"HGET", self._key(user), user.encode()) for user in users])
        return [one if isinstance(one, bytes) else None for one in answers]

    async def close(self) -> None:
        await self._line.close()

    def _script(self, name: Sequence[bytes], users: Sequence[str], fixed: Sequence[bytes]) -> Sequence[bytes]:
        keys = [self._key(user) for user in users]
        return (*name, b"%d" % len(keys), *keys, *fixed, *(user.encode() for user in users))

    def _by_partition(self, users: Sequence[str]) -> Mapping[int, list[str]]:
        found: dict[int, list[str]] = {}
        for user in users:
            found.setdefault(partition_of(user, self._partitions), []).append(user)
        return found

    def _key(self, user: str) -> bytes:
        return mailed_key(self._keys, self._partitions, user).encode()

    async def _ask(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        if not commands:
            return []
        with redis_errors_translated(self._settings):
            answers = await self._line.call(packed(*commands), len(commands))
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


def mailed_key(keys: Keys, partitions: int, user: str) -> str:
    """Return the hash that a user's entry stands in."""
    return keys.mailed(partition_of(user, partitions), xxhash.xxh3_64_intdigest(user.encode()) % BUCKETS)
