"""Backups of a Redis Cluster under traffic: of one moment, and put back into a cluster or into one Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from contracts.errors import OutputRefused, RestoreUnderWay, StateUnavailable
from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogReader, RedisLogWriter
from nextclick.stack.backup.restoring import Restored, restore_backup
from nextclick.stack.settings import StackSettings
from state.client import connect, servers_of
from state.cluster_snapshot import write_cluster_snapshot
from state.embedded import EmbeddedRedis
from state.key_copies import drop_staged
from state.redis_snapshot import keys_of
from state.restore_mark import RestoreMark, Step, expect_whole
from state.sessions import SessionStore
from state.slots import slot_of
from tests.nextclick.backup_parts import GAP_MS, at, backup, deployment, fill
from tests.processes import ROOT, wait_for
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


def beside(settings: StackSettings, own: RedisSettings) -> StackSettings:
    """Return the settings with these of Redis."""
    return settings.model_copy(update={"redis": own})


def emptied(settings: StackSettings) -> None:
    client = connect(settings.redis)
    drop_staged(client, settings.redis.prefix)
    for keys in keys_of(client, settings.redis.prefix):
        client.unlink(*keys)
    client.close()


def held(settings: StackSettings) -> dict[bytes, bytes]:
    """Return all keys of a deployment, as DUMP tells them."""
    client = connect(settings.redis)
    found = {key: client.dump(key) for keys in keys_of(client, settings.redis.prefix) for key in keys}
    client.close()
    return found


def restored(settings: StackSettings, path: Path, *, replace: bool = False) -> Restored:
    return restore_backup(settings, path, now="20261129T080000Z", replace=replace)


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


KILLED = """
import os, sys, threading
from pathlib import Path
import state.key_copies as copies
from contracts.settings import RedisSettings
from nextclick.stack.backup.restoring import restore_backup
from tests.nextclick.backup_parts import deployment
url, prefix, step, folder, file = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])
own = RedisSettings(url=url, kind="cluster", timeout_ms=10_000, prefix=prefix)
copies._KEYS_AT_ONCE = 3
really, alone = getattr(copies, step), threading.Lock()
def once(*given, **named):
    with alone:
        really(*given, **named)
        os.kill(os.getpid(), 9)
setattr(copies, step, once)
settings = deployment(folder).model_copy(update={"redis": own})
restore_backup(settings, file, now="20261129T070000Z", replace=True)
"""
PLACES, COPIES = "transacted", "_put"
"""What is done once more before the restore is killed: the changes of one primary, or copies of some keys."""


def restore_that_is_killed(settings: StackSettings, step: str, file: Path) -> None:
    command = [sys.executable, "-c", KILLED, settings.redis.url, settings.redis.prefix, step]
    ended = subprocess.run(
        [*command, str(settings.stack.folder), str(file)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert ended.returncode == -signal.SIGKILL


def test_a_restore_that_is_killed_between_two_primaries_says_so_and_is_run_again(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    before = held(shop)
    backup(shop, tmp_path / "b")
    client = connect(shop.redis)
    client.set(f"{shop.redis.prefix}:late", 1)
    new = beside(deployment(tmp_path / "new"), shop.redis)
    with pytest.raises(OutputRefused, match=r"no keys of 'b\d+', found \d+: they were left as they are"):
        restored(new, tmp_path / "b")
    restore_that_is_killed(new, PLACES, tmp_path / "b")
    assert client.ttl(f"{shop.redis.prefix}:restoring") == -1  # for good
    with pytest.raises(RestoreUnderWay, match=r"half of a backup: a restore began at 20261129T070000Z .* --replace"):
        expect_whole(shop.redis)
    with pytest.raises(RestoreUnderWay, match=r"half of a backup"):
        backup(shop, tmp_path / "half")
    with pytest.raises(OutputRefused, match=r"was stopped\. Start nothing on it; .* restore again with --replace"):
        restored(beside(deployment(tmp_path / "third"), shop.redis), tmp_path / "b")
    restored(new, tmp_path / "b", replace=True)
    assert held(shop) == before
    expect_whole(shop.redis)
    assert list(keys_of(client, "restoring.")) == []
    client.close()


def test_a_restore_that_is_killed_while_it_copies_has_changed_nothing_and_its_mark_goes_by_itself(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    backup(shop, tmp_path / "b")
    client = connect(shop.redis)
    client.set(f"{shop.redis.prefix}:late", 1)
    before = held(shop)
    restore_that_is_killed(beside(deployment(tmp_path / "new"), shop.redis), COPIES, tmp_path / "b")
    with pytest.raises(RestoreUnderWay, match=r"being restored into it since 20261129T070000Z.* within 2 minutes"):
        expect_whole(shop.redis)
    assert 0 < client.pttl(f"{shop.redis.prefix}:restoring") <= 120_000
    client.delete(f"{shop.redis.prefix}:restoring")
    assert held(shop) == before
    client.close()


def test_a_restore_into_an_empty_cluster_that_is_killed_leaves_a_mark_until_another_ends(
    shop: StackSettings, tmp_path: Path
) -> None:
    fill(shop)
    before = held(shop)
    backup(shop, tmp_path / "b")
    emptied(shop)
    new = beside(deployment(tmp_path / "new"), shop.redis)
    restore_that_is_killed(new, COPIES, tmp_path / "b")
    with pytest.raises(RestoreUnderWay, match="half of a backup"):
        expect_whole(shop.redis)
    assert 0 < len(held(shop)) < len(before)
    restored(new, tmp_path / "b", replace=True)
    assert held(shop) == before


def test_a_restore_that_fails_leaves_no_mark_and_no_keys_of_its_own(
    shop: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shop)
    backup(shop, tmp_path / "b")
    before = held(shop)
    monkeypatch.setattr("state.key_copies._KEYS_AT_ONCE", 3)
    monkeypatch.setattr("state.restore_mark.RestoreMark.look", lambda mark, client: client.execute_command("NONE", "x"))
    for there in (before, {}):
        with pytest.raises(StateUnavailable, match="unknown command"):
            restored(beside(deployment(tmp_path / "new"), shop.redis), tmp_path / "b", replace=True)
        assert held(shop) == there
        emptied(shop)


def test_of_two_restores_the_one_that_began_first_stops(shop: StackSettings, tmp_path: Path) -> None:
    fill(shop)
    first, second = (RestoreMark(shop.redis.prefix, "20261129T070000Z") for _ in range(2))
    client = connect(shop.redis)
    first.set(client, Step.COPYING)
    first.expect_own(client)
    second.set(client, Step.COPYING)
    with pytest.raises(StateUnavailable, match="another restore of this deployment has begun since: this one stops"):
        first.expect_own(client)
    second.remove(client)
    client.close()


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
