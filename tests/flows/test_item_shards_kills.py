"""A process that commits items to three shards is killed again and again: the catalogue is the log, once."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import closing

import pytest

from contracts.ids import item_key
from contracts.items import Item, ItemPatch, ItemPut, encode_change
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_reader, open_writer
from flows.item_steps import ItemPath, decode_changes
from state.shards import catalogue_reader, catalogue_writer
from tests.flows.test_item_shards import SHARDS, as_one_table, of_shard, read

LOG = LogSettings(partitions=1)
IDS = [f"i{n}" for n in range(40)]
LONG = "x" * 20_000
"""Of a row that Redis reads in several pieces: a batch of them is cut anywhere by a kill."""
CHANGES = [
    ItemPut(item_id=IDS[n % 40], item=Item(title="T", price=1.0 + n, attributes={"about": LONG}))
    if n % 3
    else ItemPatch(item_id=IDS[n % 40], patch={"price": 2.0 + n})
    for n in range(1200)
]


def run_flow(redis: RedisSettings) -> None:
    """Take in the log from where the catalogue stands, until it is killed."""
    reader, log = catalogue_reader(redis), open_writer(LOG, redis)
    path = ItemPath(reader=reader, table=catalogue_writer(redis), writer=log, tower=lambda: None, clock_ms=lambda: 1)
    records = open_reader(LOG, redis, Topic.ITEMS, [0], "items")
    records.seek(0, reader.applied(Topic.ITEMS, 0))
    while True:
        for batch in records.poll(17, 0.05):
            path.apply(decode_changes(batch, now_ms=1))


@pytest.mark.slow
def test_items_in_shards_are_those_of_the_log_whenever_the_flow_is_killed(redis_settings: RedisSettings) -> None:
    redis = redis_settings.model_copy(update={"item_shards": SHARDS})
    with closing(open_writer(LOG, redis)) as log:
        for at in range(0, len(CHANGES), 100):
            log.append(Topic.ITEMS, [Record(one.item_id, encode_change(one)) for one in CHANGES[at : at + 100]])
    spawn = multiprocessing.get_context("spawn")
    with closing(catalogue_reader(redis)) as reader:
        wanted = len(CHANGES) // 6
        while (at := reader.applied(Topic.ITEMS, 0)) < len(CHANGES):
            process = spawn.Process(target=run_flow, args=(redis,))
            process.start()
            while reader.applied(Topic.ITEMS, 0) < min(at + wanted, len(CHANGES)):
                assert process.is_alive(), "the flow ended by itself"
                time.sleep(0.001)
            process.kill()
            process.join()
        expected = as_one_table(CHANGES)[-1]
        assert reader.places(Topic.ITEMS, 0) == (len(CHANGES),) * SHARDS
        for shard, one in enumerate(reader.shards):
            rows = {int.from_bytes(key, "little"): row for page in one.rows() for key, row in page}
            assert read(rows) == read(of_shard(expected, shard))
    assert len(expected) == len({item_key(one) for one in IDS})
