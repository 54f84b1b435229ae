"""Puts a restored deployment's keys into a Redis that is not the stack's own, which is marked for as long.

Keys are copied under another prefix first, and take their places in one transaction, in a cluster in one a slot. Into a
cluster without keys of this deployment they go at once: there is nothing that could stay as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

from contracts.errors import NextclickError, OutputRefused
from contracts.settings import RedisSettings
from state.client import connect, is_cluster, redis_errors_translated
from state.embedded import EmbeddedRedis
from state.holders import walking
from state.key_copies import Held, copy_keys, drop_keys, held_by, put_in_place, staged, staged_in_slot
from state.restore_mark import RestoreMark, Step, mark_in, step_of


class RemoteKeys:
    """The keys of a deployment in another Redis, while a backup takes their place."""

    def __init__(self, redis: RedisSettings, *, since: str, replace: bool) -> None:
        """`since`: when the restore began, for people."""
        self._redis, self._replace = redis, replace
        self._mark = RestoreMark(redis.prefix, since)
        self._is_direct = False

    def expect_room(self) -> None:
        """Raise OutputRefused where there is what is not to be replaced."""
        self._expect_no_other()
        with self._reached() as client:
            self._expect_no_keys(self._held(client))

    def copy(self, source: EmbeddedRedis) -> None:
        """Mark the deployment, and copy its keys. What was there is as it was when this raises."""
        own = RedisSettings(url=source.url, prefix=self._redis.prefix)
        was_half = self._expect_no_other() is Step.PLACING
        with self._reached() as target, closing(_patient(own)) as loaded:
            self._mark.set(target, Step.PLACING if was_half else Step.COPYING)
            try:
                self._copy(loaded, target, was_half=was_half)
            except BaseException:
                with suppress(NextclickError), redis_errors_translated(self._redis):
                    self._mark.expect_own(target)
                    self._drop_copied(target)
                    if not was_half:
                        self._mark.remove(target)
                raise

    def _copy(self, loaded: Any, target: Any, *, was_half: bool) -> None:
        prefix = self._redis.prefix
        held = self._held(target)
        self._expect_no_keys(held)
        drop_keys(target, [name for one in held for name in one.arriving.values()])  # of a restore that was killed
        there = [name for one in held for name in one.there]
        named = staged_in_slot if is_cluster(target) else staged
        if is_cluster(target) and (was_half or not there):
            self._is_direct, named = True, _as_it_is
            self._mark.set(target, Step.PLACING)
            drop_keys(target, there)
        copy_keys(loaded, target, prefix, named, told=partial(self._mark.look, target))

    def _drop_copied(self, target: Any) -> None:
        for one in held_by(target, self._redis.prefix):
            drop_keys(target, one.there if self._is_direct else one.arriving.values())

    def put_in_place(self) -> None:
        """Let what was copied take its place, and remove the mark."""
        with self._reached() as client:
            self._mark.expect_own(client)
            if not self._is_direct:
                held = self._held(client)
                if is_cluster(client):
                    self._mark.set(client, Step.PLACING)
                put_in_place(client, self._redis.prefix, held)
            self._mark.remove(client)

    def _held(self, client: Any) -> list[Held]:
        """Return all keys. Raises StateUnavailable where a slot moved meanwhile, whose keys may be missing."""
        with walking(client, self._redis):
            return held_by(client, self._redis.prefix)

    def _expect_no_other(self) -> Step | None:
        """Return how far a restore came that was stopped. Raises OutputRefused for one, unless it is to be replaced."""
        found = step_of(mark_in(self._redis))
        if found is not None and not self._replace:
            raise OutputRefused(
                f"{self._where}: expected no restore on its way, found one that runs, or was stopped. Start nothing on "
                "it; when no other runs, restore again with --replace"
            )
        return found

    def _expect_no_keys(self, found: list[Held]) -> None:
        if (keys := sum(len(one.there) for one in found)) and not self._replace:
            raise OutputRefused(
                f"{self._where}: expected no keys of {self._redis.prefix!r}, found {keys:,}: they were left as they "
                "are. Stop its gateways and flows; --replace then puts the backup in their place, for good"
            )

    @property
    def _where(self) -> str:
        return f"Redis at {self._redis.place}"

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        with redis_errors_translated(self._redis), closing(_patient(self._redis)) as client:
            yield client


def _as_it_is(key: bytes) -> bytes:
    return key


def _patient(redis: RedisSettings) -> Any:
    """Return a client that waits longer: a transaction of a whole slot takes its time."""
    return connect(redis.model_copy(update={"timeout_ms": max(redis.timeout_ms, 60_000)}))
