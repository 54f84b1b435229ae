"""The catalogue in several shards: whatever dies between two of them, each is the log as far as it took it in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import decode_row, encode_row
from contracts.errors import StateConflict, StateUnavailable
from contracts.ids import ItemKey, item_key
from contracts.items import UNLIMITED_STOCK, CatalogueRow, Item, ItemDelete, ItemPatch, ItemPut, StockSet, encode_change
from contracts.keys import CATALOGUE, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Batch, Message, Topic
from eventlog.open_log import open_dead_letters, open_writer
from flows.catalogue_follower import CatalogueFollower
from flows.item_steps import Change, ItemPath, change_rows, decode_changes
from retrieval.catalogue import CatalogueColumns
from state.client import connect
from state.embedded import EmbeddedRedis
from state.redis_rounds import RedisRounds
from state.shards import ShardedReader, ShardedWriter, shard_of
from state.tables import Source

SHARDS = 3
IDS = [f"i{n}" for n in range(5)]
OF_SHARD = [next(one for one in IDS if shard_of(item_key(one), SHARDS) == shard) for shard in range(SHARDS)]
"""An item of each shard."""

ITEM = st.sampled_from(OF_SHARD)
RECORDS = st.lists(
    st.one_of(
        st.builds(lambda one: put(one, 1.0), ITEM),
        st.builds(lambda one: ItemPut(item_id=one, item=Item(title="T", stock=1)), ITEM),
        st.builds(lambda one, stock: StockSet(item_id=one, stock=stock), ITEM, st.integers(0, 99)),
        st.builds(lambda one, price: ItemPatch(item_id=one, patch={"price": price}), ITEM, st.integers(2, 99)),
        st.builds(lambda one: ItemDelete(item_id=one), ITEM),
    ),
    min_size=1,
    max_size=24,
)
STEPS = st.lists(st.tuples(st.integers(1, 8), st.sets(st.integers(0, SHARDS - 1))), max_size=8)
"""Commits: how many records, and in which shards they die."""


def put(item_id: str, price: float) -> ItemPut:
    return ItemPut(item_id=item_id, item=Item(title="T", price=price))


class Dying(RedisRounds):
    """Carries out some of the scripts of a round, as if the process, or some of the servers, died then."""

    dies_in: frozenset[int] = frozenset()

    def scripts(self, sha: str, text: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        kept = [call for call in calls if _shard_named(call[1]) not in self.dies_in]
        answers = super().scripts(sha, text, kept)
        if len(kept) < len(calls):
            raise ConnectionError("died between two shards")
        return answers


def _shard_named(key: str) -> int:
    return int(key.partition("{items:")[2].partition("}")[0])


class House:
    """The path of items over a table of three shards."""

    def __init__(self, redis: RedisSettings, records: Sequence[Change]) -> None:
        self.redis, self.records = redis, records
        self.messages = [Message(at, encode_change(one)) for at, one in enumerate(records)]
        self.open = ExitStack()
        self.reader = self.open.enter_context(closing(ShardedReader(redis, CATALOGUE, SHARDS)))
        self.log = self.open.enter_context(closing(open_writer(LogSettings(), redis)))
        self.table = self.open.enter_context(closing(ShardedWriter(redis, CATALOGUE, SHARDS, counts_bytes=True)))
        self.rounds = self.table._rounds = Dying(self.open.enter_context(closing(connect(redis))))

    def commit(self, count: int, dies_in: set[int]) -> None:
        """Read so many records from where the table stands, as a flow that was started again, and commit them."""
        start = self.reader.applied(Topic.ITEMS, 0)
        messages = self.messages[start : start + count]
        if not messages:
            return
        batch = Batch(Topic.ITEMS, 0, start, start + len(messages), messages)
        self.rounds.dies_in = frozenset(dies_in)
        path = ItemPath(reader=self.reader, table=self.table, writer=self.log, tower=lambda: None, clock_ms=lambda: 1)
        try:
            path.apply(decode_changes(batch, now_ms=1))
        except StateUnavailable:
            assert dies_in

    def rows(self, shard: int) -> dict[int, bytes]:
        return {int.from_bytes(key, "little"): row for page in self.reader.shards[shard].rows() for key, row in page}

    def close(self) -> None:
        self.open.close()


def as_one_table(records: Sequence[Change]) -> list[dict[int, bytes]]:
    """Return the rows of a table of one shard after each number of records."""
    rows: dict[ItemKey, CatalogueRow] = {}
    found: list[dict[int, bytes]] = [{}]
    for at, record in enumerate(records):
        for key, row in change_rows([(at, record)], rows, now_ms=1).rows.items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = decode_row(encode_row(row))  # as the next batch finds it
        found.append({key: encode_row(row) for key, row in rows.items()})
    return found


def read(rows: dict[int, bytes]) -> dict[int, CatalogueRow]:
    """Return rows by what they say: an item's fields are in the order in which its batch wrote them."""
    return {key: decode_row(row) for key, row in rows.items()}


def of_shard(rows: dict[int, bytes], shard: int) -> dict[int, bytes]:
    return {key: row for key, row in rows.items() if shard_of(key, SHARDS) == shard}


@settings(max_examples=60)
@given(records=RECORDS, steps=STEPS)
def test_each_shard_is_always_the_log_up_to_its_own_offset(
    redis_server: EmbeddedRedis, records: list[Change], steps: list[tuple[int, set[int]]]
) -> None:
    redis = RedisSettings(url=redis_server.url, prefix=f"t{uuid.uuid4().hex[:12]}", timeout_ms=60_000, item_shards=3)
    house, wanted = House(redis, records), as_one_table(records)
    columns = CatalogueColumns()
    follower = CatalogueFollower(house.reader, columns, refresh_ms=0)
    for count, dies_in in [*steps, (len(records), set()), (len(records), set())]:
        house.commit(count, dies_in)
        places = house.reader.places(Topic.ITEMS, 0)
        for shard, place in enumerate(places):
            assert read(house.rows(shard)) == read(of_shard(wanted[place], shard))
        follower.take_slice()
    assert house.reader.places(Topic.ITEMS, 0) == (len(records),) * SHARDS
    while follower.take_slice():
        pass
    alive = columns.keys[: columns.count][columns.alive[: columns.count]].tolist()
    assert set(alive) == wanted[-1].keys()
    assert house.reader.extent() == (len(wanted[-1]), sum(map(len, wanted[-1].values())))
    house.close()


def test_a_shard_that_is_further_is_not_taken_back_by_a_shorter_batch(redis_settings: RedisSettings) -> None:
    first, second, _ = OF_SHARD
    records: list[Change] = [put(first, 1.0), put(second, 2.0), ItemDelete(item_id=first), put(second, 3.0)]
    house = House(redis_settings, records)
    house.commit(4, dies_in={1})
    assert house.reader.places(Topic.ITEMS, 0) == (4, 0, 4)
    house.commit(1, dies_in=set())
    assert house.reader.places(Topic.ITEMS, 0) == (4, 1, 4)
    assert house.rows(0) == {}
    house.commit(4, dies_in=set())
    assert [len(house.rows(shard)) for shard in range(SHARDS)] == [0, 1, 0]
    house.close()


def test_a_shard_in_the_middle_of_a_batch_is_not_given_what_it_has(redis_settings: RedisSettings) -> None:
    """A stock that was refused, as its item was not there yet, would count if it came again."""
    first, second, _ = OF_SHARD
    records: list[Change] = [StockSet(item_id=first, stock=3), put(first, 1.0), put(second, 2.0)]
    house = House(redis_settings, records)
    house.commit(2, dies_in={1})
    assert house.reader.places(Topic.ITEMS, 0) == (2, 0, 2)
    house.commit(3, dies_in=set())
    assert house.reader.places(Topic.ITEMS, 0) == (3, 3, 3)
    [row] = house.rows(0).values()
    assert decode_row(row).stock == UNLIMITED_STOCK
    house.close()


def test_a_shard_that_lost_its_last_writes_reads_them_again_and_the_others_do_not(
    redis_settings: RedisSettings,
) -> None:
    first, second, third = OF_SHARD
    house = House(
        redis_settings, [put(first, 1.0), put(second, 2.0), put(third, 3.0), StockSet(item_id=second, stock=7)]
    )
    house.commit(3, set())
    keys = Keys(redis_settings.prefix)
    with closing(connect(redis_settings)) as client:
        held = {name: client.dump(key(f"{CATALOGUE}:1")) for name, key in _families(keys).items()}
        house.commit(1, set())
        for name, key in _families(keys).items():
            client.restore(key(f"{CATALOGUE}:1"), 0, held[name], replace=True)
    assert house.reader.places(Topic.ITEMS, 0) == (4, 3, 4)
    ends = [one.end() for one in house.reader.shards]
    house.commit(9, set())
    assert house.reader.places(Topic.ITEMS, 0) == (4, 4, 4)
    assert [one.end() for one in house.reader.shards] == [ends[0], ends[1] + 1, ends[2]]
    house.close()


def _families(keys: Keys) -> dict[str, Any]:
    return {
        "rows": keys.table_rows,
        "changes": keys.table_changes,
        "end": keys.table_end,
        "progress": keys.table_progress,
        "bytes": keys.table_bytes,
    }


def test_a_batch_that_another_worker_applied_names_the_first_offset_that_a_shard_lacks(
    redis_settings: RedisSettings,
) -> None:
    table = ShardedWriter(redis_settings, CATALOGUE, SHARDS)
    table.commit({}, (), Source(Topic.ITEMS, 0, 0, 5, (0, 0, 0)))
    with pytest.raises(StateConflict) as conflict:
        table.commit({}, (), Source(Topic.ITEMS, 0, 3, 9, (3, 5, 5)))
    assert conflict.value.stored == 5
    with closing(ShardedReader(redis_settings, CATALOGUE, SHARDS)) as reader:
        assert reader.places(Topic.ITEMS, 0) == (5, 9, 9)
    table.close()


def test_a_patch_of_a_record_taken_in_by_one_shard_becomes_one_dead_letter(redis_settings: RedisSettings) -> None:
    first, second, _ = OF_SHARD
    house = House(redis_settings, [StockSet(item_id=first, stock=1), put(second, 1.0)])
    house.commit(2, dies_in={1})
    house.commit(2, dies_in=set())
    with closing(open_dead_letters(LogSettings(), redis_settings)) as letters:
        assert [(one.source, one.reason) for one in letters.read(9)] == [("items:0:0", "unknown_item")]
    house.close()
