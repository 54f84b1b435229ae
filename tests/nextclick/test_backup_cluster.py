"""Backups of a Redis Cluster under traffic: of one moment, and put back into a cluster or into one Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogReader, RedisLogWriter
from nextclick.stack.settings import StackSettings
from state.client import connect, servers_of
from state.cluster_snapshot import write_cluster_snapshot
from state.embedded import EmbeddedRedis
from state.sessions import SessionStore
from state.slots import slot_of
from tests.nextclick.backup_parts import GAP_MS, at, backup, beside, deployment, emptied, fill, held, restored
from tests.processes import wait_for
from tests.redis_cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=0) as made:
        yield made


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"b{n}" for n in range(1000))


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path, names: Iterator[str]) -> Iterator[StackSettings]:
    """A deployment in the cluster, under a prefix of its own, which it leaves empty."""
    own = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=10_000, prefix=next(names))
    settings = beside(deployment(tmp_path / "shop"), own)
    yield settings
    emptied(settings)


STEPS = ("{foo}", "{bar}", "{a}", "{b}", "{c}")
"""Keys of different slots, on all three primaries."""


class Flows:
    """Two flows over the clicks: one keeps its offsets beside the log, the other all of them in a slot of its own."""

    def __init__(self, settings: StackSettings) -> None:
        own, self.partitions = settings.redis, range(settings.log.partitions)
        self._redis, self._progress = connect(own), Keys(own.prefix).attribution_progress()
        self._seen = Keys(own.prefix).attribution_facts()  # of the same slot
        self.sessions = SessionStore(own, idle_gap_ms=GAP_MS)
        groups = ("sessions", "attribution")
        self._readers = [RedisLogReader(own, Topic.CLICKS, self.partitions, group) for group in groups]

    def offset_apart(self, partition: int) -> int:
        return int(self._redis.hget(self._progress, f"clicks:{partition}") or 0)

    def go_on(self) -> int:
        """Apply what the log has after the stored offsets; returns how many clicks that was."""
        beside, apart = self._readers
        for partition in self.partitions:
            beside.seek(partition, self.sessions.progress(partition).next_offset)
            apart.seek(partition, self.offset_apart(partition))
        applied = 0
        for batch in beside.poll(1000, 0.0):
            start, count = batch.messages[0].offset, len(batch.messages)
            self.sessions.commit(
                batch.partition,
                start=start,
                next=start + count,
                watermark_ms=1,
                sessions=[],
                counts={"applied": count},
            )
            applied += count
        for batch in apart.poll(1000, 0.0):
            start, count = batch.messages[0].offset, len(batch.messages)
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._progress, f"clicks:{batch.partition}", start + count)
                for message in batch.messages:
                    pipe.hincrby(self._seen, message.value, 1)
                pipe.execute()
            applied += count
        return applied

    def counted(self) -> int:
        return sum(self.sessions.progress(partition).counts.get("applied", 0) for partition in self.partitions)

    def seen(self) -> dict[bytes, int]:
        """Return how often the second flow applied each click."""
        return {click: int(times) for click, times in self._redis.hgetall(self._seen).items()}

    def ends(self) -> dict[int, int]:
        return dict(self._readers[0].ends())

    def close(self) -> None:
        for one in (self._redis, self.sessions, *self._readers):
            one.close()


@contextmanager
def traffic(settings: StackSettings) -> Iterator[list[bytes]]:
    """Append clicks, and let the flows follow; gives what was acknowledged up to now."""
    stop, taken, wrong = threading.Event(), list[bytes](), list[BaseException]()

    def append() -> None:
        log, number = RedisLogWriter(settings.log, settings.redis), 0
        while not stop.is_set():
            values = [b"%08d" % (number + n) for n in range(5)]
            log.append(Topic.CLICKS, [Record(f"s{value.decode()}", value) for value in values])
            taken.extend(values)
            number += 5
        log.close()

    def climb() -> None:
        """Write a number to one slot after the other."""
        with connect(settings.redis) as client:
            number = 0
            while not stop.is_set():
                number += 1
                for step in STEPS:
                    client.set(f"{settings.redis.prefix}:{step}", number)

    def follow() -> None:
        flows = Flows(settings)
        while not stop.is_set():
            flows.go_on()
        flows.close()

    def run(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (append, follow, climb)]
    for thread in threads:
        thread.start()
    try:
        yield taken
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def expect_goes_on(settings: StackSettings, acknowledged: list[bytes], after: list[bytes]) -> None:
    """Let the flows go on, with new clicks too: each click of the log is applied once by both."""
    with connect(settings.redis) as client:
        steps = [int(client.get(f"{settings.redis.prefix}:{step}")) for step in STEPS]
    assert steps[0] - 1 <= steps[-1]
    assert steps == sorted(steps, reverse=True)
    flows = Flows(settings)
    ends = flows.ends()
    assert all(
        flows.sessions.progress(p).next_offset <= end and flows.offset_apart(p) <= end for p, end in ends.items()
    )
    log = RedisLogWriter(settings.log, settings.redis)
    log.append(Topic.CLICKS, [Record(f"s{n}", b"new%d" % n) for n in range(40)])
    log.close()
    while flows.go_on():
        pass
    total = sum(ends.values())
    assert flows.counted() == total + 40
    seen = flows.seen()
    assert (len(seen), set(seen.values())) == (total + 40, {1})
    assert set(acknowledged) <= seen.keys()
    assert seen.keys() - {b"new%d" % n for n in range(40)} <= set(after)
    flows.close()


def test_a_backup_under_traffic_is_of_one_moment_and_flows_go_on_in_a_cluster_and_in_one_redis(
    shop: StackSettings, tmp_path: Path
) -> None:
    with traffic(shop) as taken:
        wait_for(lambda: len(taken) > 300)
        before = list(taken)
        manifest = backup(shop, tmp_path / "b")
        behind = len(taken)
        wait_for(lambda: len(taken) > behind)
    assert 0 < manifest.redis.paused_ms < 2000
    assert manifest.redis.how == "snapshot"
    emptied(shop)
    restored(beside(deployment(tmp_path / "again"), shop.redis), tmp_path / "b")
    expect_goes_on(shop, before, taken)

    one = beside(deployment(tmp_path / "one"), RedisSettings(prefix=shop.redis.prefix))
    restored(one, tmp_path / "b")
    with EmbeddedRedis(tmp_path / "one" / "redis") as server:
        expect_goes_on(at(one, server.url), before, taken)


def test_a_shop_moves_from_one_redis_to_a_cluster_and_back(shop: StackSettings, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "small") as server:
        small = beside(deployment(tmp_path / "shop"), RedisSettings(url=server.url, prefix=shop.redis.prefix))
        fill(small)
        with redis.Redis.from_url(server.url) as client:
            client.set(f"{shop.redis.prefix}:waits:0001", "no braces", px=3_600_000)
            client.set(f"{shop.redis.prefix}:{{p1}}:session:}}odd{{", "odd")
        before = held(small)
        backup(small, tmp_path / "b")
    found = restored(beside(deployment(tmp_path / "new"), shop.redis), tmp_path / "b")
    assert (found.keys, held(shop)) == (len(before), before)
    client = connect(shop.redis)
    assert 0 < client.pttl(f"{shop.redis.prefix}:waits:0001") <= 3_600_000
    client.close()

    manifest = backup(shop, tmp_path / "back")
    assert manifest.redis.keys == len(before)  # each test empties its prefix
    one = beside(deployment(tmp_path / "one"), RedisSettings(prefix=shop.redis.prefix))
    assert restored(one, tmp_path / "back").keys == len(before)
    with EmbeddedRedis(tmp_path / "one" / "redis") as server:
        assert held(at(one, server.url)) == before


def test_while_a_slot_moves_there_is_no_backup_and_writes_go_on(
    cluster: Cluster, shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    key = f"{shop.redis.prefix}:{{p3}}:x"
    source = cluster.owner_of(key)
    target = next(node for node in cluster.nodes if node is not source)
    steps = cluster.move_slot(slot_of(key.encode()), source, target)
    next(steps)
    with pytest.raises(StateUnavailable, match=r"is moving a slot .*Take the backup when that is done"):
        backup(shop, tmp_path / "b")
    client = connect(shop.redis)
    assert client.set(f"{shop.redis.prefix}:after", 1) is True  # at once, or it would be an error
    for _ in steps:
        pass
    backup(shop, tmp_path / "b")
    client.close()


def test_a_restore_is_refused_while_a_slot_moves_before_anything_is_replaced(
    cluster: Cluster, shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    backup(shop, tmp_path / "b")
    before = held(shop)
    with connect(shop.redis) as client:
        client.set(f"{shop.redis.prefix}:{{p3}}:after", 1)
    after = held(shop)
    key = f"{shop.redis.prefix}:{{p3}}:after"
    source = cluster.owner_of(key)
    target = next(node for node in cluster.nodes if node is not source)
    steps = cluster.move_slot(slot_of(key.encode()), source, target)
    next(steps)
    with pytest.raises(StateUnavailable, match="a slot of the cluster is on the move"):
        restored(beside(deployment(tmp_path / "new"), shop.redis), tmp_path / "b", replace=True)
    for _ in steps:
        pass
    assert held(shop) == after
    restored(beside(deployment(tmp_path / "again"), shop.redis), tmp_path / "b", replace=True)
    assert held(shop) == before


def test_a_cluster_that_forbids_sync_is_read_key_by_key_unless_it_is_written_to(
    cluster: Cluster, shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    before = held(shop)
    for node in cluster.nodes:
        node.client.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~*", "+@all", "-sync")
    hosted = shop.redis.model_copy(update={"url": cluster.url.replace("redis://", "redis://hosted:pw@")})
    manifest = backup(beside(shop, hosted), tmp_path / "b")
    assert (manifest.redis.how, manifest.redis.keys) == ("keys", len(before))
    with traffic(shop) as taken:
        wait_for(lambda: len(taken) > 50)
        with pytest.raises(StateUnavailable, match="changed while they were read one by one"):
            backup(beside(shop, hosted), tmp_path / "again")
    emptied(shop)
    restored(beside(deployment(tmp_path / "new"), shop.redis), tmp_path / "b")
    assert held(shop) == before


def test_a_primary_that_does_not_fork_in_time_costs_no_more_than_the_pause(
    shop: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.cluster_snapshot._Primary.has_forked", lambda self: False)
    monkeypatch.setattr("state.cluster_snapshot.PAUSE_MS", 50)
    with pytest.raises(StateUnavailable, match="did not all begin a snapshot within 50 ms"):
        write_cluster_snapshot(shop.redis, tmp_path / "b")
    client = connect(shop.redis)
    for one in servers_of(client):
        wait_for(lambda one=one: not one.info("persistence")["rdb_bgsave_in_progress"])
    assert client.set(f"{shop.redis.prefix}:x", 1) is True
    client.close()
    assert list(tmp_path.glob("*")) == []
