"""Erasures in Redis: what each is of (by a keyed hash) and its receipt; a visitor's names only while one is under way.

A number goes up with every change, so that processes look at one number, and at all only when it moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

import msgspec

from contracts.errors import StateUnavailable
from contracts.formats import FORMATS, NewerFormat, expect_known
from contracts.keys import Keys
from contracts.redis_answers import WriteCheck, whole
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated
from state.erasure_secret import secret_of
from state.kept import expect_kept

NUMBER: Final = "number"
LEASE_MS: Final = 30_000
_WITHOUT_NAMES: Final = """
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HINCRBY', KEYS[1], ARGV[3], 1)
"""


class Job(msgspec.Struct, frozen=True):
    """What an erasure needs while it is under way. `ends`: by `topic:partition`, the log's ends when it was asked for:
    all that stands before them is the visitor's past, whatever its time says. `forgot`: the document and the profile
    are gone: what was written of the user since is of a new visitor. `clicks`: moments by session, of which one is a
    session's beginning; `requests`: answers that were shown to the visitor. `v`: of the format.
    """

    user: str | None
    sessions: tuple[str, ...] = ()
    ends: dict[str, int] = {}
    forgot: bool = False
    clicks: dict[str, list[int]] = {}
    requests: tuple[str, ...] = ()
    v: int = FORMATS["erasing"].written


class ErasureStore:
    """For any thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings, self._keys = settings, Keys(settings.prefix)
        self._redis = connect(settings)
        self._check = WriteCheck(settings.place)

    def secret(self) -> bytes:
        """Return what names are hashed with."""
        return secret_of(self._redis, self._settings)

    def set_secret(self, secret: bytes) -> None:
        """Hash names as a list does that is older than this Redis."""
        with redis_errors_translated(self._settings):
            self._redis.set(self._keys.erasure_secret(), secret)

    def number(self) -> int:
        """Return how often anything changed."""
        with redis_errors_translated(self._settings):
            return whole(self._redis.hget(self._keys.erasures(), NUMBER)) or 0

    def all(self) -> dict[str, bytes]:
        """Return erasures as they are stored, by id."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.hgetall(self._keys.erasures())
        return {name.decode(): raw for name, raw in found.items() if name != NUMBER.encode()}

    def get(self, erasure: str) -> bytes | None:
        if erasure == NUMBER:
            return None
        with redis_errors_translated(self._settings):
            found: bytes | None = self._redis.hget(self._keys.erasures(), erasure)
        return found

    def put(self, erasure: str, raw: bytes, job: Job | None = None, *, tells: bool = True) -> None:
        """Write an erasure, and its names where they are given; returns once Redis keeps them. Without `tells` nobody
        else needs to look at what changed.
        """
        key = self._keys.erasures()
        with redis_errors_translated(self._settings), self._redis.pipeline(transaction=True) as pipe:
            if job is not None:
                pipe.set(self._keys.erasing(erasure), msgspec.json.encode(job))
            pipe.hset(key, erasure, raw)
            if tells:
                pipe.hincrby(key, NUMBER, 1)
            pipe.execute()
        expect_kept(self._redis, self._settings, self._check, "an erasure")

    def finish(self, erasure: str, raw: bytes) -> None:
        """Write an erasure that needs its names no more, and let go of them, in one step."""
        key = self._keys.erasures()
        with redis_errors_translated(self._settings):
            self._redis.eval(_WITHOUT_NAMES, 2, key, self._keys.erasing(erasure), erasure, raw, NUMBER)
        expect_kept(self._redis, self._settings, self._check, "an erasure")

    def job(self, erasure: str) -> Job | None:
        """Return the names of an erasure that is under way; None where they are not known (any more). Those that a
        newer release wrote are StateUnavailable: one of its gateways goes on with them.
        """
        with redis_errors_translated(self._settings):
            raw = self._redis.get(self._keys.erasing(erasure))
        try:
            found = None if raw is None else msgspec.json.decode(raw, type=Job)
            if found is not None:
                expect_known("erasing", found.v)
        except NewerFormat as error:
            raise StateUnavailable(str(error)) from error
        except (msgspec.DecodeError, ValueError):
            return None
        return found

    def drop(self, erasures: Iterable[str]) -> None:
        """Take erasures off the list that are older than anything that could bring somebody back."""
        if names := list(erasures):
            with redis_errors_translated(self._settings):
                self._redis.hdel(self._keys.erasures(), *names)

    def lead(self, process: str) -> bool:
        """Tell whether a process is the one that carries erasures out, for LEASE_MS from now."""
        key = self._keys.erasing("lead")
        with redis_errors_translated(self._settings):
            if self._redis.set(key, process, nx=True, px=LEASE_MS):
                return True
            if self._redis.get(key) != process.encode():
                return False
            self._redis.pexpire(key, LEASE_MS)
            return True

    def leave(self, process: str) -> None:
        """Let another process lead at once."""
        key = self._keys.erasing("lead")
        with redis_errors_translated(self._settings):
            if self._redis.get(key) == process.encode():
                self._redis.delete(key)

    def tell(self, process: str, number: int) -> None:
        """Say that a process let go of all that was erased up to a number."""
        key = self._keys.erasing("told")
        with redis_errors_translated(self._settings), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, process, number)
            pipe.pexpire(key, 86_400_000)
            pipe.execute()

    def told(self) -> dict[str, int]:
        """Return up to which number each process let go."""
        with redis_errors_translated(self._settings):
            found: Any = self._redis.hgetall(self._keys.erasing("told"))
        return {name.decode(): number for name, raw in found.items() if (number := whole(raw)) is not None}

    def close(self) -> None:
        self._redis.close()


def put_all(settings: RedisSettings, secret: bytes, erasures: dict[str, bytes]) -> None:
    """Put a list of erasures and what their names are hashed with into a Redis: of a deployment that is restored."""
    keys = Keys(settings.prefix)
    with redis_errors_translated(settings), closing(connect(settings)) as client:
        client.set(keys.erasure_secret(), secret)
        if erasures:
            client.hset(keys.erasures(), mapping=dict(erasures))
            client.hincrby(keys.erasures(), NUMBER, 1)
