"""Who refused personalisation, in Redis: a change table, so that every gateway process follows it. Row keys are hashes
of user ids, rows are one byte: a refusal outlives the user's document, without the id.
"""

from __future__ import annotations

import struct
from typing import Final

import xxhash

from contracts import keys as redis_keys
from contracts.settings import RedisSettings
from state.tables import TableWriter

KEPT_CHANGES: Final = 10_000
ROW: Final = b"\x01"


class RefusalStore:
    """Writes refusals, from a thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._writer = TableWriter(settings, redis_keys.REFUSALS, kept_changes=KEPT_CHANGES)

    def put(self, user_id: str) -> int:
        """Keep that a user refuses. Returns the number of the next change."""
        return self._writer.commit({refusal_row(user_id): ROW})

    def take_back(self, user_id: str) -> int:
        """Keep it no more; the same when there is none."""
        return self._writer.commit({}, [refusal_row(user_id)])

    def close(self) -> None:
        self._writer.close()


def refusal_key(user_id: str) -> int:
    """Return the 64-bit name (xxh3) under which a refusal is kept."""
    return xxhash.xxh3_64_intdigest(user_id.encode(errors="surrogatepass"))


def refusal_row(user_id: str) -> bytes:
    """Return the row key of a user's refusal."""
    return struct.pack("<Q", refusal_key(user_id))
