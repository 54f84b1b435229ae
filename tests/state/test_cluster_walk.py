"""A walk over all keys of a cluster meets each of them, whoever dies meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import connect
from state.cluster_walk import Walk
from state.loopback_cluster import until
from state.slots import slot_of
from state.users import UserStore
from tests.redis_cluster import fail_over, replica_of, running_cluster

FIRST, SECOND, LATER = ("10.0.0.1", 7000), ("10.0.0.2", 7000), ("10.0.0.3", 7000)


def test_a_walk_goes_from_node_to_node_and_ends_with_the_last() -> None:
    nodes, cursor, met = (FIRST, SECOND), 0, []
    for own in (17, 0, 5, 0):
        walk = Walk.at(cursor, nodes)
        met.append((walk.primaries[walk.number], walk.own))
        cursor = int(walk.onward([b"%d" % own, []])[0])
    assert met == [(FIRST, 0), (FIRST, 17), (SECOND, 0), (SECOND, 5)]
    assert cursor == 0


def test_a_walk_begins_anew_where_another_has_taken_the_place_of_a_node() -> None:
    [cursor, _] = Walk.at(0, (FIRST, SECOND)).onward([b"0", []])
    for nodes in ((SECOND, LATER), (FIRST, LATER), (FIRST, SECOND, LATER), (FIRST,)):
        assert Walk.at(int(cursor), nodes) == Walk(0, 0, nodes)
    assert Walk.at(int(cursor), (FIRST, SECOND)) == Walk(0, 1, (FIRST, SECOND))


@given(st.integers(1, (1 << 64) - 1), st.integers(0, 2))
def test_any_cursor_of_a_node_comes_back_to_it(own: int, number: int) -> None:
    nodes = (FIRST, SECOND, LATER)
    [cursor, _] = Walk(0, number, nodes).onward([b"%d" % own, []])
    assert Walk.at(int(cursor), nodes) == Walk(own, number, nodes)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 2, 5])
def test_no_key_is_missed_where_a_primary_dies_in_the_middle_of_a_walk(tmp_path: Path, asked: int) -> None:
    """Each of the primaries in turn: the one that takes its place is another in the order of nodes."""
    with running_cluster(tmp_path / "cluster") as cluster:
        client: Any = connect(RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=2000))
        names = {b"k:%d" % n for n in range(300)}
        for name in names:
            client.set(name, 1)
        victim = sorted(cluster.nodes[:3], key=lambda node: node.port)[asked // 2]
        replica = replica_of(cluster, victim)
        until(lambda: replica.client.dbsize() == victim.client.dbsize())
        cursor, met = client.scan(0, match="k:*", count=60)
        for _ in range(asked):
            cursor, found = client.scan(cursor, match="k:*", count=60)
            met += found
        fail_over(cluster, victim, replica)
        while cursor:
            cursor, found = client.scan(cursor, match="k:*", count=60)
            met += found
        assert set(met) == names
        client.close()


@pytest.mark.slow
def test_users_are_not_all_of_them_where_a_slot_moved_while_they_were_read(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster") as cluster:
        settings = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=2000)
        users = UserStore(settings, partitions=4)
        names = {f"u-{n}" for n in range(20)}
        for name in names:
            users.change(name, lambda _: {"age": 34})
        assert set(users.user_ids()) == names
        walk = users.user_ids()
        next(walk)
        source = cluster.owner_of("k")
        target = next(node for node in cluster.nodes[:3] if node is not source)
        for _ in cluster.move_slot(slot_of(b"k"), source, target):
            pass
        with pytest.raises(StateUnavailable, match="slots moved meanwhile: again from the beginning"):
            list(walk)
        users.close()
