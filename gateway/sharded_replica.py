"""A change table of several shards followed into this process's memory: a replica of each, told of as one.

Each follows its shard by itself: its own read that waits for changes, and its own place. What a request asks for, or a
write waits for, is a place in every shard, compared one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from eventlog.contract import Position
from gateway.replica import Replica, Rows
from retrieval.live import Start
from state.shards import shards_of


class ShardedReplica:
    """The replicas of a table's shards, as one. They run by themselves."""

    def __init__(self, name: str, shards: Sequence[Replica]) -> None:
        self.name, self.shards = name, tuple(shards)

    @property
    def number(self) -> int:
        """Changes before the next one to take in, of all shards."""
        return sum(one.number for one in self.shards)

    @property
    def loaded(self) -> bool:
        return all(one.loaded for one in self.shards)

    @property
    def following(self) -> bool:
        return all(one.following for one in self.shards)

    @property
    def loads(self) -> int:
        """Times that a shard was loaded, of the one that was most often."""
        return max(one.loads for one in self.shards)

    @property
    def skipped(self) -> int:
        return sum(one.skipped for one in self.shards)

    @property
    def by_relay(self) -> bool | None:
        """As `Replica.by_relay`, of all shards."""
        found = [one.by_relay for one in self.shards if one.by_relay is not None]
        return all(found) if found else None

    @property
    def age_s(self) -> float:
        """Of the shard that was not heard of for longest."""
        return max(one.age_s for one in self.shards)

    @property
    def emptied(self) -> bool:
        """As `Replica.emptied`, of any shard: a part of what was there is gone."""
        return any(one.emptied for one in self.shards)

    def beside(self, apply: Callable[[Rows], None], keys: Callable[[], Iterable[int]]) -> ShardedReplica:
        """As `Replica.beside`."""
        count = len(self.shards)
        return ShardedReplica(
            self.name, [one.beside(apply, keys_of_shard(keys, shard, count)) for shard, one in enumerate(self.shards)]
        )

    def has(self, ends: Sequence[int]) -> bool:
        """Tell whether every change below the end of each shard is in memory."""
        return all(one.has([end]) for one, end in zip(self.shards, ends, strict=True))

    def lacks(self, other: ShardedReplica) -> bool:
        """Tell whether another replica of the same table is further in any shard."""
        return any(one.lacks(its) for one, its in zip(self.shards, other.shards, strict=True))

    async def behind(self) -> int:
        """As `Replica.behind`, of all shards."""
        return sum(await asyncio.gather(*(one.behind() for one in self.shards)))

    async def extent(self) -> tuple[int, int]:
        """As `Replica.extent`, of all shards."""
        found = await asyncio.gather(*(one.extent() for one in self.shards))
        return sum(rows for rows, _ in found), sum(size for _, size in found)

    async def close(self) -> None:
        for one in self.shards:
            await one.close()

    async def catch_up(self, *ends: int) -> bool:
        """As `Replica.catch_up`, with the end of each shard."""
        return all(await asyncio.gather(*(one.catch_up(end) for one, end in zip(self.shards, ends, strict=True))))

    async def catch_up_now(self) -> bool:
        """As `Replica.catch_up_now`."""
        return all(await asyncio.gather(*(one.catch_up_now() for one in self.shards)))

    async def shows(self, topic: str, positions: Iterable[Position], within_s: float) -> bool:
        """As `Replica.shows`: every shard has taken in the records, whichever their rows are in."""
        asked = list(positions)
        return all(await asyncio.gather(*(one.shows(topic, asked, within_s) for one in self.shards)))

    async def resume(self, start: Start) -> bool:
        """As `Replica.resume`; False for a start of another number of shards."""
        starts = start.of(len(self.shards))
        if starts is None:
            return False
        return all([await one.resume(its) for one, its in zip(self.shards, starts, strict=True)])

    async def advance(self) -> None:
        """As `Replica.advance`."""
        for one in self.shards:
            await one.advance()

    def take_over(self, beside: ShardedReplica) -> None:
        """As `Replica.take_over`."""
        for one, its in zip(self.shards, beside.shards, strict=True):
            one.take_over(its)


Followed = Replica | ShardedReplica


def keys_of_shard(keys: Callable[[], Iterable[int]], shard: int, shards: int) -> Callable[[], Iterable[int]]:
    """Return what lists those of the keys that are of one shard."""

    def mine() -> Iterable[int]:
        every = np.array(list(keys()), np.uint64)
        found: list[int] = every[shards_of(every, shards) == shard].tolist()
        return found

    return mine
