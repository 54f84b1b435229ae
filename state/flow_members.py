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
_OF: Final = " of "
"""Between a process's name and how many partitions it counts."""

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

    def __init__(self, settings: RedisSettings, flow: str, member: str, partitions: int) -> None:
        """`partitions`: of the log, by this process's settings."""
        self._settings, self._flow, self._partitions = settings, flow, partitions
        self._member = f"{member}{_OF}{partitions}"
        self._redis = connect(settings)
        self._key = Keys(settings.prefix).flow_members(flow)
        self._there: list[str] | None = None
        self._others: set[str] = set()
        """Other numbers of partitions that processes of this flow have."""

    def join(self) -> None:
        """Say that this process is there, and keep saying so until it ends. Raises StateUnavailable."""
        if self._there is None:
            self.look()
            threading.Thread(target=self._keep_saying, name="flow members", daemon=True).start()

    def share(self) -> list[int]:
        """Return this process's partitions; it has joined. Processes that count another number of partitions have no
        part in it: they would leave some to nobody.
        """
        return share_of(self._member, [one for one in self._there or [] if self._is_alike(one)], self._partitions)

    def _is_alike(self, name: str) -> bool:
        _, told, partitions = name.rpartition(_OF)
        return not told or partitions == str(self._partitions)

    def look(self) -> None:
        """Say so and see who is there, now. Raises StateUnavailable."""
        with redis_errors_translated(self._settings):
            there: list[bytes] = self._redis.eval(_SAY, 1, self._key, self._member, HERE_MS, _KEPT_MS)
        names = [name.decode(errors="replace") for name in there]
        others = {name.rpartition(_OF)[2] for name in names if not self._is_alike(name)}
        if others - self._others:
            log.error(
                "processes of the %s flow: expected log.partitions = %d of all of them, got %s of some: they share "
                "nothing with this one, and much of the work is done twice. Give them the same settings",
                self._flow,
                self._partitions,
                " and ".join(sorted(others)),
            )
        self._others = others
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
        redis, key = connect(settings), Keys(settings.prefix).flow_members(flow)
        there = [name.decode(errors="replace") for name in redis.zrange(key, 0, -1)]
        if gone := [name for name in there if name.rpartition(_OF)[0] in members or name in members]:
            redis.zrem(key, *gone)
        redis.close()
