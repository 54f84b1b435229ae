"""A visitor is erased on a Redis Cluster whose slots move and whose primaries die: whoever is done with is gone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.clock import wall_clock_ms
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogWriter
from gateway.erasure_work import OUTAGES, ErasureWork, erasures_of
from gateway.erasures import Erasures
from gateway.settings import GatewaySettings
from rights.erasure import Erasure, Status, Subject
from state.client import connect
from state.slots import slot_of
from state.users import UserStore
from tests.gateway.conftest import event
from tests.gateway.test_erasure import named_in
from tests.processes import wait_for
from tests.redis_cluster import Cluster, fail_over, hold_behind, replica_of, running_cluster

pytestmark = pytest.mark.slow
LOG = LogSettings(partitions=1)
USER, SESSION = "user-anna", "sess-anna"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster") as made:
        yield made


class Shop:
    """A deployment of one partition that knows a visitor, and the erasures of its one gateway."""

    def __init__(self, cluster: Cluster, prefix: str, *, timeout_ms: int = 1500) -> None:
        about = {"url": cluster.url, "kind": "cluster", "nodes": cluster.places, "prefix": prefix}
        self.redis = RedisSettings(**about, timeout_ms=timeout_ms)
        self.client: Any = connect(self.redis)
        self.keys = Keys(prefix)
        self._settings = GatewaySettings(redis=self.redis, log=LOG)
        self.erasures = Erasures(self._settings, wall_clock_ms)
        self._users = UserStore(self.redis, partitions=1)

    def meet(self) -> None:
        """Have the visitor log in, click, and be shown a page; a second session is known by its owner's key alone."""
        self._users.change(USER, lambda _: {"age": 34})
        log = RedisLogWriter(LOG, self.redis)
        log.append(Topic.CLICKS, [Record(SESSION, orjson.dumps(event("e1", SESSION, "i-1", user_id=USER)))])
        log.close()
        self.client.set(self.keys.session_owner(0, f"{SESSION}-2"), USER, px=86_400_000)
        self.client.rpush(self.keys.exposures(0, f"{SESSION}-2"), bytes(8))

    def forget(self) -> None:
        at_ms = wall_clock_ms()
        self._users.forget(USER, now_ms=at_ms)
        self.erasures.begin(Subject.USER, USER, at_ms, {})

    def carry_out(self, meanwhile: Callable[[], object] = lambda: None, **more: Any) -> Erasure:
        """Carry out one pass; `meanwhile` is called in it, again and again."""

        def rests(seconds: float) -> None:
            meanwhile()
            time.sleep(seconds)

        ErasureWork(self._settings, self.erasures.store, "one", wall_clock_ms, sleep=rests, **more).run()
        [found] = erasures_of(self.erasures.store)
        return found

    def is_on(self, node: Any) -> bool:
        """Tell whether a server has anything of the visitor, in the slot of the one partition."""
        found = node.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot_of(b"{p0}"), 100)
        return any(USER.encode() in key or SESSION.encode() in key for key in found)

    def left(self) -> list[bytes]:
        return named_in(self.client, self.redis.prefix, USER, SESSION)

    def close(self) -> None:
        self._users.close()
        self.erasures.store.close()
        self.client.close()


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[Shop]:
    """Its log and its visitors lie on another primary than its erasures."""
    made = Shop(cluster, "shop")
    here = cluster.owner_of(made.keys.progress(0))
    if cluster.owner_of(made.keys.erasures()) is here:
        there = next(node for node in cluster.nodes[:3] if node is not here)
        move(cluster, made.keys.erasures(), there)
    yield made
    made.close()


def move(cluster: Cluster, key: str, target: Any) -> None:
    if (source := cluster.owner_of(key)) is not target:
        for _ in cluster.move_slot(slot_of(key.encode()), source, target):
            pass


def test_a_key_whose_slot_moves_past_the_walk_is_found_by_the_next_pass(cluster: Cluster) -> None:
    """The walk goes from primary to primary, by their ports. The second answers nothing until the slot has moved from
    the third to the first.
    """
    first, second, third = sorted(cluster.nodes[:3], key=lambda node: node.port)
    prefix = next(name for name in map("shop{}".format, range(99)) if cluster.owner_of(f"{name}:processes") is first)
    shop = Shop(cluster, prefix, timeout_ms=8000)
    for key in (shop.keys.progress(0), shop.keys.erasures()):
        move(cluster, key, third)
    shop.meet()
    shop.forget()
    second.client.execute_command("CLIENT", "PAUSE", 3000, "ALL")
    walked = scans_of(first)
    passes: list[Erasure] = []
    carrying = threading.Thread(target=lambda: passes.append(shop.carry_out()))
    carrying.start()
    wait_for(lambda: scans_of(first) > walked)
    move(cluster, shop.keys.progress(0), first)
    carrying.join()
    assert passes[0].status is Status.RUNNING
    assert "slots moved meanwhile" in (passes[0].waits_for or "")
    done = shop.carry_out()
    assert (done.status, done.waits_for, shop.left()) == (Status.DONE, None, [])
    shop.close()


def scans_of(node: Any) -> int:
    return int(node.client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"])


def test_while_a_slot_is_half_moved_nobody_is_done_with_and_then_all_is_gone_also_from_files(
    cluster: Cluster, shop: Shop, tmp_path: Path
) -> None:
    shop.meet()
    shop.forget()
    source = cluster.owner_of(shop.keys.progress(0))
    target = next(node for node in cluster.nodes[:3] if node is not source)
    steps = cluster.move_slot(slot_of(shop.keys.progress(0).encode()), source, target, keys_at_once=1)
    for _ in range(3):
        next(steps)
        try:
            found = shop.carry_out(patience_s=0)
        except OUTAGES:
            [found] = erasures_of(shop.erasures.store)
        assert found.status is Status.RUNNING
    for _ in steps:
        pass
    wait_for(lambda: shop.carry_out().status is Status.DONE)
    assert shop.left() == []
    files = [path for path in (tmp_path / "cluster").rglob("*.aof") if path.is_file()]
    assert len(files) >= len(cluster.nodes)  # replicas' too
    assert [path for path in files if USER.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_who_came_back_with_a_replica_that_took_over_is_erased_before_it_is_done(
    cluster: Cluster, shop: Shop, when: str
) -> None:
    shop.meet()
    victim = cluster.owner_of(shop.keys.progress(0))
    wait_for(lambda: shop.is_on(replica_of(cluster, victim)))
    replica = hold_behind(cluster, victim)
    shop.forget()
    died: list[bool] = []

    def dies_once_all_is_gone() -> None:
        if not died and not shop.is_on(victim):
            died.append(True)
            fail_over(cluster, victim, replica)

    if when == "before":
        fail_over(cluster, victim, replica)
    else:
        found = shop.carry_out(dies_once_all_is_gone)
        assert died == [True]
        assert found.status is Status.RUNNING
        assert "a replica took over" in (found.waits_for or "")
    assert shop.left() != []
    done = shop.carry_out()
    assert (done.status, shop.left()) == (Status.DONE, [])


def test_it_is_not_done_before_replicas_have_it(cluster: Cluster, shop: Shop) -> None:
    shop.meet()
    victim = cluster.owner_of(shop.keys.progress(0))
    replica = replica_of(cluster, victim)
    wait_for(lambda: shop.is_on(replica))
    assert replica.process is not None
    replica.process.send_signal(signal.SIGSTOP)
    try:
        shop.forget()
        found = shop.carry_out(patience_s=0.5)
        assert (found.status, found.waits_for) == (Status.RUNNING, "replicas that do not have it yet")
    finally:
        replica.process.send_signal(signal.SIGCONT)
    wait_for(lambda: shop.carry_out().status is Status.DONE)
    victim.kill()
    wait_for(lambda: replica.client.role()[0] == b"master")
    cluster.wait_until_whole()
    assert shop.left() == []
