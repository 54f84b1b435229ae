"""Two gateways follow a table whose primary dies with its last changes: neither takes old rows for new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from gateway.background import running
from gateway.preparing import caught_up
from gateway.replica import Replica
from state.async_tables import AsyncTableReader
from state.slots import slot_of
from state.tables import TableWriter
from tests.gateway.test_replica import Memory, key, until
from tests.redis_cluster import Cluster, fail_over, hold_behind, replica_of, running_cluster

pytestmark = pytest.mark.slow
SOLD_OUT = b"sold out"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster") as made:
        yield made


def commit(settings: RedisSettings, row: bytes) -> int:
    """Commit a row as soon as that can be; returns the end."""
    writer = TableWriter(settings, "things")
    try:
        while True:
            try:
                return writer.commit({key(1): row})
            except StateUnavailable:
                continue
    finally:
        writer.close()


async def soon_has(replica: Replica, end: int, within_s: float = 0.05) -> bool:
    """Ask as a request does that has read the table's end."""
    return await caught_up(replica, [end], asyncio.get_running_loop().time() + within_s)


@pytest.mark.parametrize("lost", [1, 4])
async def test_what_a_primary_lost_is_not_taken_for_what_came_in_its_place(cluster: Cluster, lost: int) -> None:
    settings = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=2000, prefix="t")
    rows, turns = [Memory(), Memory()], [asyncio.Lock(), asyncio.Lock()]
    readers = [AsyncTableReader(settings, "things") for _ in rows]
    fast, slow = (
        Replica("things", reader, memory.apply, lambda memory=memory: list(memory.rows), turn=turn)  # type: ignore[misc]
        for reader, memory, turn in zip(readers, rows, turns, strict=True)
    )
    commit(settings, b"first")
    async with running(fast.run(), slow.run()):
        await until(lambda: fast.following and slow.following)
        primary = cluster.owner_of(Keys("t").table_rows("things"))
        replica = replica_of(cluster, primary)
        await until(lambda: bool(replica.client.cluster("COUNTKEYSINSLOT", slot_of(b"{things}"))))
        hold_behind(cluster, primary)
        end = 1
        for n in range(lost):
            end = commit(settings, b"in stock %d" % n)
        await until(lambda: fast.number == slow.number == end)
        await turns[1].acquire()  # a large table takes long to load
        await asyncio.to_thread(fail_over, cluster, primary, replica)
        assert await asyncio.to_thread(commit, settings, SOLD_OUT) == 2
        await until(lambda: fast.following and fast.number == 2)
        assert rows[0].rows[1] == SOLD_OUT
        assert await soon_has(fast, 2) is True
        assert rows[1].rows[1] == b"in stock %d" % (lost - 1)
        assert await soon_has(slow, 2) is False
        turns[1].release()
        await until(lambda: slow.following)
        assert await soon_has(slow, 2) is True
        assert rows[1].rows[1] == SOLD_OUT
    for one in readers:
        await one.close()
