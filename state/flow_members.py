"""Which processes of a flow are there, on whatever machine, and so which partitions are each one's own.

Each says in Redis every second that it is there. One that is silent for HERE_MS is gone, by Redis's clock; one that
ends in order is taken out at once. All read the same list, so each knows its share without asking anybody.

For a moment two may hold one partition: the list that they know is up to a second old. That costs work, and nothing
else. Offset and state are written by one script on condition of the offset, so the second writer is refused and reads
on from where the first has come.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

log = logging.getLogger(__name__)

SAY_S: Final = 1.0
HERE_MS: Final = 5_000
"""A process that was silent for so long is gone: others take its partitions."""
_KEPT_MS: Final = 600_000

_SAY: Final = """
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
local time = redis.call('TIME')
local now, here = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - here))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. (now + here), '+inf')
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
"""Scores are when each said so last. Those ahead of the clock are of a clock that was set back."""


def share_of(member: str, members: Sequence[str], partitions: int) -> list[int]:
    """Return the partitions of a member: those that are its place in the sorted list, modulo how many there are."""
    names = sorted({*members, member})
    place = names.index(member)
    return [partition for partition in range(partitions) if partition % len(names) == place]


class FlowMembers:
    """One process among those of its flow. What it knows of the others is at most some seconds old."""

    def __init__(self, settings: RedisSettings, flow: str, member: str) -> None:
        self._settings, self._flow, self._member = settings, flow, member
        self._redis = connect(settings)
        self._key = Keys(settings.prefix).flow_members(flow)
        self._there: list[str] | None = None

    def join(self) -> None:
        """Say that this process is there, and keep saying so until it ends. Raises StateUnavailable."""
        if self._there is None:
            self.look()
            threading.Thread(target=self._keep_saying, name="flow members", daemon=True).start()

    def share(self, partitions: int) -> list[int]:
        """Return this process's partitions, of so many; it has joined."""
        return share_of(self._member, self._there or [], partitions)

    def look(self) -> None:
        """Say so and see who is there, now. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            there: list[bytes] = self._redis.eval(_SAY, 1, self._key, self._member, HERE_MS, _KEPT_MS)
        names = [name.decode(errors="replace") for name in there]
        if self._there is not None and sorted(names) != sorted(self._there):
            log.warning("processes of the %s flow: %d, %d before", self._flow, len(names), len(self._there))
        self._there = names

    def _keep_saying(self) -> None:
        """While Redis does not answer, the list stays as it was: nobody can write meanwhile."""
        pause = threading.Event()
        while not pause.wait(SAY_S):
            with suppress(StateUnavailable):
                self.look()


def leave(settings: RedisSettings, flow: str, members: Sequence[str]) -> None:
    """Take processes that ended out of the list, so that others need not wait. Raises nothing: where Redis does not
    answer they are gone after HERE_MS.
    """
    if not members:
        return
    with suppress(StateUnavailable), redis_errors_translated(settings):
        redis = connect(settings)
        redis.zrem(Keys(settings.prefix).flow_members(flow), *members)
        redis.close()
