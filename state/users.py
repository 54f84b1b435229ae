"""Users' documents in Redis, each under its user's partition. Written by compare and set, so that of two devices none
undoes what the other wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import redis

from contracts.errors import StateUnavailable
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.left_out import LeftOutLog
from contracts.redis_answers import WriteCheck, is_other_kind
from contracts.settings import RedisSettings
from contracts.users import decode_user, encode_user
from state.client import connect, redis_errors_translated
from state.kept import expect_kept

log = logging.getLogger("nextclick.state")

_TRIES: Final = 20

Document = Mapping[str, Any]


class UserStore:
    """Reads and writes documents, from any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, partitions: int) -> None:
        self._settings, self._partitions = settings, partitions
        self._redis = connect(settings)
        self._keys = Keys(settings.prefix)
        self._check = WriteCheck(settings.place)
        self._said = LeftOutLog(log)

    def get(self, user_id: str) -> Document | None:
        """Return a user's document; None where there is none, or what is there cannot be read."""
        with redis_errors_translated(self._settings):
            return self._read(self._redis, user_id)

    def change(self, user_id: str, make: Callable[[Document | None], Document | None]) -> Document | None:
        """Write what `make` makes of a user's document, None: take it away. It is asked again when somebody else wrote
        meanwhile. Returns what was written. Raises what `make` and `encode_user` raise.
        """
        key = self._key(user_id)
        for _ in range(_TRIES):
            with redis_errors_translated(self._settings), self._redis.pipeline() as pipe:
                pipe.watch(key)
                document = make(self._read(pipe, user_id))
                raw = None if document is None else encode_user(document)
                pipe.multi()
                if raw is None:
                    pipe.delete(key)
                else:
                    pipe.set(key, raw)
                try:
                    pipe.execute()
                except redis.WatchError:  # another device wrote meanwhile
                    continue
            expect_kept(self._redis, self._settings, self._check, "a user's document")
            return document
        raise StateUnavailable(f"the user's document was written {_TRIES} times meanwhile: try again")

    def forget(self, user_id: str) -> None:
        """Take away a user's document, and what was learnt."""
        partition = partition_of(user_id, self._partitions)
        with redis_errors_translated(self._settings):
            self._redis.delete(self._key(user_id), self._keys.profile(partition, user_id))
        expect_kept(self._redis, self._settings, self._check, "that a user is forgotten")

    def close(self) -> None:
        self._redis.close()

    def _key(self, user_id: str) -> str:
        return self._keys.user(partition_of(user_id, self._partitions), user_id)

    def _read(self, client: Any, user_id: str) -> Document | None:
        try:
            raw = client.get(self._key(user_id))
            return None if raw is None else decode_user(raw)
        except redis.ResponseError as error:
            if not is_other_kind(error):
                raise
            self._said.say(f"user {user_id!r}", error)
        except ValueError as error:
            self._said.say(f"user {user_id!r}", error)
        return None
