"""A primary of a Redis Cluster that dies with what its replica had not got: its part of the log goes back, and the
state that flows made of it, in another slot, does not. What comes in the place of the lost records counts, once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest

from contracts.errors import LogUnavailable
from contracts.ids import item_key, partition_of
from contracts.items import Item, ItemPut, encode_change
from contracts.keys import CATALOGUE, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogWriter
from quality.checks import hours_before
from state.async_tables import AsyncTableReader
from state.attribution import AttributionStore
from state.flow_offsets import stored_offsets
from state.quality import read_quality
from state.tables import TableReader
from tests.processes import ROOT, wait_for
from tests.redis_cluster import Cluster, fail_over, hold_behind, running_cluster

pytestmark = pytest.mark.slow
LOG = LogSettings(partitions=4)
PARTITION = 3
"""It lies on another primary than all that flows keep of it."""
FLOWS = ("quality", "attribution", "items")
NOW = time.time_ns() // 1_000_000 - 60_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster") as made:
        yield made


@contextmanager
def flows(redis: RedisSettings) -> Iterator[list[subprocess.Popen[bytes]]]:
    env = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__KIND": "cluster",
        "NEXTCLICK_REDIS__NODES": ",".join(redis.nodes),
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
    }
    commands = [[sys.executable, "-m", "bytewax.run", f"flows.{flow}:flow"] for flow in FLOWS]
    running = [subprocess.Popen(command, env=env, cwd=ROOT) for command in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


class Shop:
    """Clicks and items of one partition, and what the flows made of them."""

    def __init__(self, redis: RedisSettings) -> None:
        self._redis = redis
        self._table, self._attribution = TableReader(redis, CATALOGUE), AttributionStore(redis, unit_ms=1, max_cells=1)

    def append(self, name: str, count: int) -> None:
        """Append so many clicks, and as many items, one by one; again where they are refused."""
        with closing(RedisLogWriter(LOG, self._redis)) as log:
            for n in range(count):
                self._take(log, Topic.CLICKS, Record(session := in_partition(f"{name}-{n}"), click(session)))
                item_id = in_partition(f"{name}-{n}")
                put = encode_change(ItemPut(item_id=item_id, item=Item(title=item_id)))
                self._take(log, Topic.ITEMS, Record(item_id, put))

    @staticmethod
    def _take(log: RedisLogWriter, topic: Topic, record: Record) -> None:
        while True:
            try:
                log.append(topic, [record])
            except LogUnavailable:
                time.sleep(0.05)
            else:
                return

    def stands_at(self, offset: int) -> bool:
        """Tell whether every flow has applied all before an offset, and no more."""
        quality = stored_offsets(self._redis, "quality", LOG.partitions)["clicks", PARTITION]
        attribution = stored_offsets(self._redis, "attribution", LOG.partitions)["clicks", PARTITION]
        return {quality, attribution, self._table.applied(Topic.ITEMS, PARTITION)} == {offset}

    def shown(self) -> int:
        """Return up to which offset a gateway takes items for visible."""

        async def asked() -> int:
            reader = AsyncTableReader(self._redis, CATALOGUE)
            try:
                return (await reader.applied(Topic.ITEMS, [PARTITION]))[PARTITION]
            finally:
                await reader.close()

        return asyncio.run(asked())

    def counted(self) -> tuple[int, int]:
        """Return how many clicks the quality and the attribution flow counted."""
        minutes, _ = read_quality(self._redis, hours_before(NOW // 60_000 + 10), 0)
        records = sum(count for (_, name), count in minutes.items() if name == "records")
        return records, self._attribution.ledger().facts["taken"]

    def lacks(self, name: str, count: int) -> list[str]:
        ids = [in_partition(f"{name}-{n}") for n in range(count)]
        rows = self._table.get([item_key(one).to_bytes(8, "little") for one in ids])
        return [one for one, row in zip(ids, rows, strict=True) if row is None]

    def close(self) -> None:
        self._table.close()
        self._attribution.close()


def in_partition(name: str) -> str:
    return next(f"{name}-{n}" for n in range(1000) if partition_of(f"{name}-{n}", LOG.partitions) == PARTITION)


def click(session: str) -> bytes:
    about = {"v": 1, "event_id": f"e-{session}", "type": "view", "session_id": session, "item_id": "i-1", "ts": NOW}
    return orjson.dumps(about)


def test_what_comes_in_the_place_of_records_that_a_log_lost_is_applied_once_by_flows_that_lost_nothing(
    cluster: Cluster,
) -> None:
    redis = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=5000)
    keys = Keys(redis.prefix)
    with flows(redis) as running, closing(Shop(redis)) as shop:
        shop.append("first", 8)
        wait_for(lambda: shop.stands_at(8), 120)
        held = counted = 8
        for lost, new in ((5, 3), (4, 9)):  # fewer come than were lost, and more
            victim = cluster.owner_of(keys.log("clicks", PARTITION))
            state = (keys.quality_progress(), keys.attribution_progress(), keys.table_progress(CATALOGUE))
            assert victim not in [cluster.owner_of(key) for key in state]
            replica = hold_behind(cluster, victim)
            shop.append(f"lost-{lost}", lost)
            wait_for(partial(shop.stands_at, held + lost))
            for process in running:
                process.send_signal(signal.SIGSTOP)
            fail_over(cluster, victim, replica)
            shop.append(f"new-{new}", new)
            assert shop.shown() == (0 if new < lost else held + lost)  # by the end alone; the flow says so at once
            for process in running:
                process.send_signal(signal.SIGCONT)
            counted, held = counted + lost + new, held + new
            wait_for(partial(shop.stands_at, held))
            assert shop.counted() == (counted, counted)
            assert shop.lacks(f"new-{new}", new) == []
            victim.start()
            cluster.wait_until_whole()
        assert [process.poll() for process in running] == [None] * len(FLOWS)
