"""A relay over a real Redis Cluster: a table's slot moves, and its primary dies with writes that no replica has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.slots import slot_of
from state.table_changes import ChangesTrimmed
from state.tables import TableReader, TableWriter
from tests.redis_cluster import Cluster, fail_over, hold_behind, running_cluster
from tests.state.test_relay import Follower, commit, path, relayed, soon_again

__all__ = ["path", "soon_again"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=1) as made:
        yield made


def of(cluster: Cluster, prefix: str) -> RedisSettings:
    made = {"url": cluster.url, "kind": "cluster", "nodes": cluster.places, "timeout_ms": 10_000, "prefix": prefix}
    return RedisSettings.model_validate(made)


class Table:
    """The rows of a table as somebody has them who loads it, and follows it by a relay."""

    def __init__(self, settings: RedisSettings, path: str) -> None:
        self.one = Follower(settings, path)
        self.rows: dict[bytes, bytes | None] = {}
        self.loads = 0

    async def load(self) -> None:
        await self.one.begin()
        self.rows = {key: row async for page in self.one.reader.rows() for key, row in page}
        self.loads += 1

    async def follow_until(self, place: int) -> None:
        """Follow up to a change, as a replica does: who may not go on by changes loads again."""
        async with asyncio.timeout(120):
            while not self.loads or self.one.place < place:
                try:
                    if not self.loads:
                        await self.load()
                    seen = len(self.one.seen)
                    await self.one.read()
                    self.rows.update({change.key: change.row for change in self.one.seen[seen:]})
                except (ChangesTrimmed, StateUnavailable):
                    self.one.place, self.loads = 0, 0


@asynccontextmanager
async def followed(settings: RedisSettings, path: str, rows: int) -> AsyncIterator[tuple[TableWriter, Table]]:
    """A table of so many rows, and somebody who follows it by a relay."""
    with closing(TableWriter(settings, "t")) as writer:
        commit(writer, *range(rows))
        async with relayed(settings, path):
            table = Table(settings, path)
            await table.load()
            await table.one.until(lambda: table.one.on_relay)
            yield writer, table
            await table.one.reader.close()


def rows_of(settings: RedisSettings) -> dict[bytes, bytes]:
    with closing(TableReader(settings, "t")) as reader:
        return {key: row for page in reader.rows() for key, row in page}


async def test_whoever_follows_by_a_relay_has_what_the_cluster_has_while_the_tables_slot_moves(
    cluster: Cluster, path: str
) -> None:
    settings, table_key = of(cluster, "moves"), Keys("moves").table_rows("t")
    source = cluster.owner_of(table_key)
    target = next(node for node in cluster.nodes[:3] if node is not source)
    async with followed(settings, path, 50) as (writer, table):
        for number, _ in enumerate(cluster.move_slot(slot_of(table_key.encode()), source, target, keys_at_once=1)):
            with suppress(StateUnavailable):  # some keys are here, some there
                writer.commit({b"moving": b"%d" % number})
        end = writer.commit({b"last": b"row"})
        await table.follow_until(end)
        assert table.rows == rows_of(settings)
        await table.one.until(lambda: table.one.on_relay)


async def test_whoever_followed_what_a_failover_lost_has_what_the_new_primary_has(cluster: Cluster, path: str) -> None:
    settings = of(cluster, "fails")
    primary = cluster.owner_of(Keys("fails").table_rows("t"))
    async with followed(settings, path, 10) as (writer, table):
        replica = hold_behind(cluster, primary)
        lost = writer.commit({b"lost": b"row", b"k0": b"lost too"})
        await table.follow_until(lost)
        assert table.rows[b"lost"] == b"row"
        await asyncio.to_thread(fail_over, cluster, primary, replica)
        end = await asyncio.to_thread(committed, writer)
        await table.follow_until(end)
        assert table.rows == rows_of(settings)
        assert b"lost" not in table.rows


def committed(writer: TableWriter) -> int:
    """Commit once the new primary takes it; other rows get the numbers of those that were lost."""
    while True:
        try:
            return writer.commit({b"kept": b"row", b"k1": b"kept too", b"k2": b"kept too"})
        except StateUnavailable:
            continue
