"""Versioned documents over a change table: the row is the newest version, a list beside it keeps the ones before.

A version's number counts from 1 for each name, and never goes back: also not when a document is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from contracts.errors import StateUnavailable
from contracts.ids import item_key
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.tables import TableWriter

MOST_VERSIONS = 100
"""Versions kept of a document."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Published:
    """What a write did: the version it made (0: it deleted), and the number of the table's next change."""

    version: int
    end: int


class DocumentStore:
    """Writes the documents of one table, from a thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, table: str) -> None:
        self._settings, self._table = settings, table
        self._redis = connect(settings)
        self._rows = TableWriter(settings, table)
        self._keys = Keys(settings.prefix)

    def publish(self, name: str, encode: Callable[[int], bytes]) -> Published:
        """Make a new version of a document: `encode` is given its number. Everything of it is written, or nothing."""
        counts, versions = self._keys.document_counts(self._table), self._keys.document_versions(self._table, name)

        def queue(pipe: Any) -> int:
            version = int(pipe.hget(counts, name) or 0) + 1
            row = encode(version)
            pipe.multi()
            pipe.hset(counts, name, version)
            pipe.rpush(versions, row)
            pipe.ltrim(versions, -MOST_VERSIONS, -1)
            self._rows.commit_in(pipe, {row_key(name): row})
            return version

        return self._written(counts, queue)

    def delete(self, name: str) -> Published:
        """Take a document away; its versions stay."""
        counts = self._keys.document_counts(self._table)

        def queue(pipe: Any) -> int:
            pipe.multi()
            self._rows.commit_in(pipe, {}, [row_key(name)])
            return 0

        return self._written(counts, queue)

    def versions(self, name: str) -> list[bytes]:
        """Return the versions of a document that are kept, oldest first."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.lrange(self._keys.document_versions(self._table, name), 0, -1)
        return list(found)

    def close(self) -> None:
        self._rows.close()
        self._redis.close()

    def _written(self, watched: str, queue: Callable[[Any], int]) -> Published:
        for _ in range(_TRIES):
            with redis_errors_translated(self._settings), self._redis.pipeline() as pipe:
                pipe.watch(watched)
                try:
                    version = queue(pipe)
                    *_, (_, end) = pipe.execute()
                except redis.WatchError:  # somebody else published meanwhile
                    continue
            self._rows.expect_kept()
            return Published(version, int(end))
        raise StateUnavailable(f"the documents of {self._table} were written {_TRIES} times meanwhile: try again")


def row_key(name: str) -> bytes:
    """Return the key of a document's row."""
    return item_key(name).to_bytes(8, "little")
