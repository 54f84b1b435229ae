"""Versioned documents over a change table: the row is the newest version, a list beside it keeps the ones before.

A version's number counts from 1 for each name, and never goes back: also not when a document is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from contracts.errors import StateUnavailable
from contracts.ids import item_key
from contracts.keys import Keys
from contracts.redis_answers import whole
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
        return self.publish_together({name: encode})[0]

    def publish_together(self, encoders: Mapping[str, Callable[[int], bytes]]) -> list[Published]:
        """Make a new version of each document, in order: all of them are written, or none, also where one encoder
        raises.
        """
        counts = self._keys.document_counts(self._table)

        def queue(pipe: Any) -> list[int]:
            numbers = {name: self._count(counts, name, pipe.hget(counts, name)) + 1 for name in encoders}
            rows = {name: encode(numbers[name]) for name, encode in encoders.items()}
            pipe.multi()
            for name, row in rows.items():
                versions = self._keys.document_versions(self._table, name)
                pipe.hset(counts, name, numbers[name])
                pipe.rpush(versions, row)
                pipe.ltrim(versions, -MOST_VERSIONS, -1)
            self._rows.commit_in(pipe, {row_key(name): row for name, row in rows.items()})
            return list(numbers.values())

        return self._written(counts, queue)

    def delete(self, name: str) -> Published:
        """Take a document away; its versions stay."""
        counts = self._keys.document_counts(self._table)

        def queue(pipe: Any) -> list[int]:
            pipe.multi()
            self._rows.commit_in(pipe, {}, [row_key(name)])
            return [0]

        return self._written(counts, queue)[0]

    def versions(self, name: str) -> list[bytes]:
        """Return the versions of a document that are kept, oldest first."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.lrange(self._keys.document_versions(self._table, name), 0, -1)
        return list(found)

    def close(self) -> None:
        self._rows.close()
        self._redis.close()

    def _count(self, counts: str, name: str, raw: bytes | None) -> int:
        """Return the number of a document's newest version. Raises StateUnavailable for what is no number."""
        if raw is None:
            return 0
        if (found := whole(raw)) is None:
            raise StateUnavailable(
                f"expected in {counts} the number of the newest version of {name!r}, got {raw[:40]!r}: put it there "
                f"(HSET), or 0 where nothing of that name was ever published"
            )
        return found

    def _written(self, watched: str, queue: Callable[[Any], list[int]]) -> list[Published]:
        for _ in range(_TRIES):
            with redis_errors_translated(self._settings), self._redis.pipeline() as pipe:
                try:
                    pipe.watch(watched)
                    versions = queue(pipe)
                    *_, (_, end) = pipe.execute()
                except redis.WatchError:  # somebody else published meanwhile
                    continue
            self._rows.expect_kept()
            return [Published(version, int(end)) for version in versions]
        raise StateUnavailable(f"the documents of {self._table} were written {_TRIES} times meanwhile: try again")


def row_key(name: str) -> bytes:
    """Return the key of a document's row."""
    return item_key(name).to_bytes(8, "little")
