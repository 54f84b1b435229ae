"""A table of shards on a real Redis Cluster: each shard where its slot lies, whichever moves meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from contracts.errors import StateUnavailable
from contracts.ids import item_key
from contracts.keys import CATALOGUE, Keys, shard_names
from contracts.settings import RedisSettings
from eventlog.contract import Topic
from state.resharding import reshard
from state.sessions import SessionReader
from state.shards import ShardedWriter, catalogue_reader, catalogue_writer, shard_of, shard_readers
from state.slots import slot_of
from state.tables import Source
from tests.redis_cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow
SHARDS = 3
_PREFIXES = iter(range(1000))
NAMES = [item_key(f"i{n}").to_bytes(8, "little") for n in range(60)]
SPREAD = tuple(sum(shard_of(int.from_bytes(name, "little"), SHARDS) == shard for name in NAMES) for shard in range(3))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=0) as made:
        yield made


@pytest.fixture
def settings(cluster: Cluster) -> RedisSettings:
    prefix = f"c{next(_PREFIXES)}"
    made = {"url": cluster.url, "kind": "cluster", "nodes": cluster.places, "timeout_ms": 10_000, "prefix": prefix}
    return RedisSettings.model_validate({**made, "item_shards": SHARDS})


async def test_shards_lie_on_several_primaries_and_are_read_as_one_table(
    cluster: Cluster, settings: RedisSettings
) -> None:
    keys = Keys(settings.prefix)
    assert len({cluster.owner_of(keys.table_rows(name)).port for name in shard_names(CATALOGUE, SHARDS)}) > 1
    sessions = SessionReader(settings, partitions=4)
    with closing(catalogue_writer(settings)) as table, closing(catalogue_reader(settings)) as reader:
        table.claim()
        table.commit(dict.fromkeys(NAMES, b"row"), (), Source(Topic.ITEMS, 0, 0, 9, (0, 0, 0)))
        assert reader.places(Topic.ITEMS, 0) == (9, 9, 9)
        assert reader.extent() == (60, 180)
        assert reader.get(NAMES) == [b"row"] * 60
        assert {key for page in reader.rows() for key, _ in page} == set(NAMES)
        assert (await sessions.view("s", "u")).catalogue_ends == SPREAD
        followed = shard_readers(settings, CATALOGUE)
        begun = [await one.begin() for one in followed]
        assert tuple(begun) == SPREAD
        table.commit({}, NAMES)
        for one, at in zip(followed, begun, strict=True):
            changes = await one.changes(at, 1000)
            assert {change.row for change in changes} == {None}
            await one.close()
    await sessions.close()


def test_a_slot_that_moves_makes_a_commit_wait_and_loses_no_offset(cluster: Cluster, settings: RedisSettings) -> None:
    key = Keys(settings.prefix).table_rows("items:1")
    source = cluster.owner_of(key)
    target = next(node for node in cluster.nodes[:3] if node is not source)
    impatient = settings.model_copy(update={"timeout_ms": 200})
    with closing(catalogue_writer(settings)) as table, closing(catalogue_reader(settings)) as reader:
        assert isinstance(table, ShardedWriter)
        table.commit(dict.fromkeys(NAMES, b"0"), (), Source(Topic.ITEMS, 0, 0, 1, (0, 0, 0)))
        done, refused = 1, 0
        with closing(catalogue_writer(impatient)) as hurried:
            for _ in cluster.move_slot(slot_of(key.encode()), source, target, keys_at_once=1):
                at = reader.places(Topic.ITEMS, 0)
                try:
                    hurried.commit(
                        dict.fromkeys(NAMES, b"%d" % done), (), Source(Topic.ITEMS, 0, min(at), done + 1, at)
                    )
                except StateUnavailable:
                    refused += 1
                else:
                    done += 1
        assert refused > 0
        at = reader.places(Topic.ITEMS, 0)
        table.commit(dict.fromkeys(NAMES, b"last"), (), Source(Topic.ITEMS, 0, min(at), done + 1, at))
        assert reader.places(Topic.ITEMS, 0) == (done + 1,) * SHARDS
        rows = {row for page in reader.shards[1].rows() for _, row in page}
        assert rows == {b"last"}


def test_the_number_of_shards_changes_on_a_cluster(settings: RedisSettings) -> None:
    with closing(catalogue_writer(settings)) as table:
        table.claim()
        table.commit(dict.fromkeys(NAMES, b"row"), (), Source(Topic.ITEMS, 0, 0, 9, (0, 0, 0)))
    assert reshard(settings, 8, clock_ms=lambda: 1, sleep=lambda _: None) == (3, 8, 60)
    with closing(catalogue_reader(settings.model_copy(update={"item_shards": 8}))) as reader:
        assert (reader.places(Topic.ITEMS, 0), reader.size()) == ((9,) * 8, 60)
