"""What each visitor was shown lately, for scenarios that let what was shown often make room. Best effort: of no click
or purchase anything depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import redis_errors_translated
from state.redis_line import open_line, packed

KEPT_PAGES: Final = 200
"""Pages that are remembered of a visitor."""
KEPT_S: Final = 30 * 86_400
"""How long pages are remembered, where nothing else is set."""
_VERSION_AT: Final = 7
"""The highest byte of the moment: 0 is version 1."""


_TAKE: Final = b"""
local taken = 0
for _, page in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if page == ARGV[1] then return 1 end
  if #page >= 8 and #page % 8 == 0 and struct.unpack('<I8', page) > tonumber(ARGV[2]) then taken = taken + 1 end
end
if taken >= tonumber(ARGV[3]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[4]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
"""Counts a page where the cap allows it, in one step: two requests at once do not both get the last one. A page that
was counted is not counted twice: the call may be sent again on another connection.
"""


class Shown(NamedTuple):
    """One page that a visitor was shown."""

    at_ms: int
    keys: Sequence[int]
    """ItemKeys; of a page that counts for a cap, a number of its own."""


class Exposures:
    """Pages by visitor, from an event loop. Raises StateUnavailable."""

    def __init__(
        self, settings: RedisSettings, *, partitions: int, within_s: float | None = None, kept_s: int = KEPT_S
    ) -> None:
        self._settings, self._partitions, self._kept_s = settings, partitions, kept_s
        self._line = open_line(settings, within_s=within_s)
        self._keys = Keys(settings.prefix)

    async def note(self, visitor: str, shown: Shown) -> None:
        """Remember a page."""
        key = self._key(visitor, None)
        await self._ask(
            (b"RPUSH", key, encode_shown(shown)),
            (b"LTRIM", key, b"%d" % -KEPT_PAGES, b"-1"),
            (b"EXPIRE", key, b"%d" % self._kept_s),
        )

    async def take(self, visitor: str, placement: str, page: Shown, *, since_ms: int, most: int) -> bool:
        """Count a page for a placement's frequency cap, unless `most` were counted after a moment. Returns whether it
        was; a page that was counted before is.
        """
        arguments = (since_ms, most, KEPT_PAGES, self._kept_s)
        key = self._key(visitor, placement)
        counts = (b"%d" % one for one in arguments)
        [taken] = await self._ask((b"EVAL", _TAKE, b"1", key, encode_shown(page), *counts))
        return bool(taken)

    async def give_back(self, visitor: str, placement: str, page: Shown) -> None:
        """Count a page no more."""
        await self._ask((b"LREM", self._key(visitor, placement), b"1", encode_shown(page)))

    async def of(self, visitor: str, placement: str | None = None) -> list[Shown]:
        """Return the pages of a visitor, or those counted for a `placement`, oldest first; one that cannot be read is
        left out.
        """
        [rows] = await self._ask((b"LRANGE", self._key(visitor, placement), b"0", b"-1"))
        return [shown for row in rows if (shown := decode_shown(row)) is not None]

    async def close(self) -> None:
        await self._line.close()

    def _key(self, visitor: str, placement: str | None) -> bytes:
        partition = partition_of(visitor, self._partitions)
        if placement is not None:
            return self._keys.sent(partition, placement, visitor).encode()
        return self._keys.exposures(partition, visitor).encode()

    async def _ask(self, *commands: Sequence[bytes]) -> list[Any]:
        with redis_errors_translated(self._settings):
            answers = await self._line.call(packed(*commands), len(commands))
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


def encode_shown(shown: Shown) -> bytes:
    """Encode a page: epoch milliseconds and item keys, 8 bytes each."""
    return np.array([shown.at_ms, *shown.keys], "<u8").tobytes()


def decode_shown(row: bytes) -> Shown | None:
    """Decode what `encode_shown` made; None for anything else, and for what a newer release wrote."""
    if len(row) < 8 or len(row) % 8 or row[_VERSION_AT]:
        return None
    at_ms, *keys = np.frombuffer(row, "<u8").tolist()
    return Shown(at_ms, keys)


def tired_of(pages: Sequence[Shown], *, shown: int, since_ms: int, clicked: Collection[int]) -> tuple[int, ...]:
    """Return the items that stood on `shown` pages or more since a moment, and that were not clicked."""
    counts = Counter(key for page in pages if page.at_ms >= since_ms for key in set(page.keys))
    return tuple(key for key, many in counts.items() if many >= shown and key not in clicked)
