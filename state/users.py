"""Users' documents in Redis, each under its user's partition. Written by compare and set, so that of two devices none
undoes what the other wrote.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import redis

from contracts.errors import StateFull, StateUnavailable
from contracts.formats import NewerFormat
from contracts.hashed_names import hashed
from contracts.ids import partition_of
from contracts.keys import Keys
from contracts.left_out import LeftOutLog
from contracts.redis_answers import WHOLE_LUA, WriteCheck, is_other_kind, whole
from contracts.settings import RedisSettings, UserOptions
from contracts.users import decode_user, encode_user
from state.campaign_ledger import mailed_key
from state.client import answered, connect, redis_errors_translated
from state.erasure_secret import secret_of
from state.holders import walking
from state.kept import expect_kept

log = logging.getLogger("nextclick.state")

_TRIES: Final = 20
_DOCUMENTS, _BYTES = "documents", "bytes"
FORGOTTEN_FOR_MS: Final = 7 * 86_400_000
"""How long it is kept that a user was deleted: longer than a flow that was away takes to read the log."""
FORGOTTEN_MOST: Final = 200_000
"""Deletions that are kept, over all partitions: about 20 MB. The oldest go first."""
_FORGET: Final = f"""{WHOLE_LUA}
forget_other_kind(KEYS[1], 'zset')
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2] - ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[1], ARGV[5])
redis.pcall('HDEL', KEYS[3], ARGV[5])
return redis.call('DEL', KEYS[2])
"""
"""The deletion is there before the profile goes, in one step: no commit comes between. Who it was is kept as a hash;
an earlier release kept the name.
"""

Document = Mapping[str, Any]


class UserStore:
    """Reads and writes documents, from any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings, *, partitions: int, bounds: UserOptions | None = None) -> None:
        self._settings, self._partitions, self._bounds = settings, partitions, bounds or UserOptions()
        self._redis = connect(settings)
        self._keys = Keys(settings.prefix)
        self._check = WriteCheck(settings.place)
        self._said = LeftOutLog(log)
        self.refused = 0
        """Writes that there was no room for."""

    def get(self, user_id: str) -> Document | None:
        """Return a user's document; None where there is none, or what is there cannot be read."""
        with redis_errors_translated(self._settings):
            return self._read(self._redis, user_id)

    def change(self, user_id: str, make: Callable[[Document | None], Document | None]) -> Document | None:
        """Write what `make` makes of a user's document, None: take it away. It is asked again when somebody else wrote
        meanwhile. Returns what was written. Raises what `make` and `encode_user` raise, StateFull where there is no
        room for it, and StateUnavailable for a document that a newer release wrote: it can only be taken away.
        """
        key, extent = self._key(user_id), self._keys.users(partition_of(user_id, self._partitions))
        for _ in range(_TRIES):
            with redis_errors_translated(self._settings), self._redis.pipeline() as pipe:
                try:
                    document = self._put(pipe, user_id, key, extent, make)
                except redis.WatchError:  # another device wrote meanwhile
                    continue
            expect_kept(self._redis, self._settings, self._check, "a user's document")
            return document
        raise StateUnavailable(f"the user's document was written {_TRIES} times meanwhile: try again")

    def _put(
        self, pipe: Any, user_id: str, key: str, extent: str, make: Callable[[Document | None], Document | None]
    ) -> Document | None:
        """Try `change` once. Raises redis.WatchError."""
        pipe.watch(key)
        document = self._made(pipe, user_id, make)
        raw = None if document is None else encode_user(document)
        before = self._size(pipe, key)
        more = (raw is not None) - (before is not None), len(raw or b"") - (before or 0)
        self._expect_room(*more)
        damaged = self._is_damaged(pipe, extent)
        pipe.multi()
        if damaged:
            pipe.delete(extent)
        if raw is None:
            pipe.delete(key)
        else:
            pipe.set(key, raw)
        for name, change in zip((_DOCUMENTS, _BYTES), more, strict=True):
            if change:
                pipe.hincrby(extent, name, change)
        pipe.execute()
        return document

    def _made(self, client: Any, user_id: str, make: Callable[[Document | None], Document | None]) -> Document | None:
        try:
            found = self._read(client, user_id, raises=(NewerFormat,))
        except NewerFormat as error:
            if make({}) is not None:
                raise StateUnavailable(f"the user's document: {error}") from error
            return None
        return make(found)

    def forget(self, user_id: str, *, now_ms: int) -> tuple[bool, bool]:
        """Take away a user's document, what was learnt, and which campaigns wrote to them; returns whether there was
        the first, and the second. What they did until now is not learnt again, whenever the profiles flow comes to read
        it within FORGOTTEN_FOR_MS.
        """
        had: list[bool] = []

        def gone(found: Document | None) -> None:
            had.append(found is not None)

        self.change(user_id, gone)
        partition = partition_of(user_id, self._partitions)
        forgotten, profile = self._keys.forgotten(partition), self._keys.profile(partition, user_id)
        keys = forgotten, profile, mailed_key(self._keys, self._partitions, user_id)
        most = max(1, FORGOTTEN_MOST // self._partitions)
        sign = hashed(secret_of(self._redis, self._settings), "user", user_id)
        with redis_errors_translated(self._settings):
            learnt = self._redis.eval(_FORGET, len(keys), *keys, sign, now_ms, FORGOTTEN_FOR_MS, most, user_id)
        expect_kept(self._redis, self._settings, self._check, "that a user is forgotten")
        return had[-1], bool(learnt)

    def is_forgotten(self, user_id: str, at_ms: int) -> bool:
        """Tell whether it is noted that a user was forgotten at a moment, or since. The note lies beside the document
        and the profile, and is younger: where it is lost, so may be that they went.
        """
        key = self._keys.forgotten(partition_of(user_id, self._partitions))
        sign = hashed(secret_of(self._redis, self._settings), "user", user_id)
        noted_ms = answered(self._settings, lambda: self._redis.zscore(key, sign))
        return noted_ms is not None and noted_ms >= at_ms

    def extent(self) -> tuple[int, int]:
        """Return how many documents there are, and their bytes: of those that were ever counted."""
        with redis_errors_translated(self._settings), self._redis.pipeline(transaction=False) as pipe:
            for partition in range(self._partitions):
                pipe.hmget(self._keys.users(partition), (_DOCUMENTS, _BYTES))
            counts = [one for one in pipe.execute(raise_on_error=False) if isinstance(one, list)]
        documents, size = (sum(whole(one[at]) or 0 for one in counts) for at in range(2))
        return documents, size

    def user_ids(self) -> Iterator[str]:
        """Yield the users who have a document, in no order; one may come twice. Looks at every key of the Redis.

        Raises StateUnavailable, at the end, where slots of a cluster moved meanwhile: a user may have been passed by.
        """
        head = len(self._keys.prefix.encode())
        with redis_errors_translated(self._settings), walking(self._redis, self._settings):
            for key in self._redis.scan_iter(match=f"{plainly(self._keys.prefix)}:{{p*}}:user:*", count=1000):
                yield key[head:].partition(b"}:user:")[2].decode(errors="replace")

    def _expect_room(self, documents: int, size: int) -> None:
        """Raise StateFull where so many documents and bytes more are beyond the bounds."""
        if documents <= 0 and size <= 0:
            return
        held, held_bytes = self.extent()
        for there, more, most, what, setting in (
            (held, documents, self._bounds.max_documents, "documents", "users.max_documents"),
            (held_bytes, size, self._bounds.max_bytes, "bytes of documents", "users.max_bytes"),
        ):
            if more > 0 and there + more > most:
                self.refused += 1
                raise StateFull(
                    f"users have {there:,} {what}, {setting} allows {most:,}: take users away that "
                    "are gone, or raise it"
                )

    def _size(self, client: Any, key: str) -> int | None:
        """Return the bytes of what is kept under a key, None for nothing."""
        try:
            return int(client.strlen(key)) or None
        except redis.ResponseError as error:
            if not is_other_kind(error):
                raise
            return None  # it is overwritten, and was never counted

    def _is_damaged(self, client: Any, extent: str) -> bool:
        """Say whether a partition's counts are none: what is written next counts from 0."""
        try:
            return any(one is not None and whole(one.removeprefix(b"-")) is None for one in client.hvals(extent))
        except redis.ResponseError as error:
            if not is_other_kind(error):
                raise
            return True

    def close(self) -> None:
        self._redis.close()

    def _key(self, user_id: str) -> str:
        return self._keys.user(partition_of(user_id, self._partitions), user_id)

    def _read(self, client: Any, user_id: str, *, raises: tuple[type[ValueError], ...] = ()) -> Document | None:
        try:
            raw = client.get(self._key(user_id))
            return None if raw is None else decode_user(raw)
        except redis.ResponseError as error:
            if not is_other_kind(error):
                raise
            self._said.say(f"user {user_id!r}", error)
        except raises:
            raise
        except ValueError as error:
            self._said.say(f"user {user_id!r}", error)
        return None


def plainly(text: str) -> str:
    """Return a text as a pattern of Redis's that means just it."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)
