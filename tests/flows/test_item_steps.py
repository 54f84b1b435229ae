"""The item path: what catalogue changes make of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.codec import decode_row
from contracts.ids import item_key
from contracts.items import (
    UNLIMITED_STOCK,
    CatalogueRow,
    Item,
    ItemDelete,
    ItemPatch,
    ItemPut,
    ItemSeen,
    StockSet,
    encode_change,
)
from contracts.keys import CATALOGUE
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Batch, Message, Topic
from eventlog.open_log import open_dead_letters, open_writer
from flows.item_steps import ItemPath, Room, change_rows, decode_changes
from state.tables import TableReader, TableWriter
from tests.damage import TABLES
from tests.flows.test_session_steps import Letters
from tests.one_key import ONE_KEY

KEY = item_key("a")
SHOE = Item(title="Shoe", category="shoes/trail", stock=4)


def put(item: Item = SHOE) -> ItemPut:
    return ItemPut(item_id="a", item=item)


def row_after(*changes: ItemPut | ItemDelete | StockSet | ItemSeen, known: CatalogueRow | None = None) -> object:
    numbered = list(enumerate(changes))
    return change_rows(numbered, {KEY: known} if known else {}, now_ms=100).rows.get(KEY)


def test_a_put_creates_a_row_with_its_stock() -> None:
    assert row_after(put()) == CatalogueRow("a", SHOE, 4, 100, 0, b"")


def test_an_item_without_stock_is_never_out_of_stock() -> None:
    row = row_after(put(Item(title="News")))
    assert isinstance(row, CatalogueRow)
    assert row.stock == UNLIMITED_STOCK


def test_a_put_without_stock_keeps_the_stock_and_the_time_of_creation() -> None:
    known = CatalogueRow("a", SHOE, 0, 7, 0, b"")
    row = row_after(put(Item(title="Renamed")), known=known)
    assert isinstance(row, CatalogueRow)
    assert (row.item.title, row.stock, row.created_ms) == ("Renamed", 0, 7)


def test_stock_after_a_put_in_the_same_batch_wins() -> None:
    row = row_after(put(), StockSet(item_id="a", stock=0))
    assert isinstance(row, CatalogueRow)
    assert row.stock == 0


def test_stock_for_an_unknown_item_is_refused_with_the_reason() -> None:
    changed = change_rows([(5, StockSet(item_id="a", stock=1))], {}, now_ms=1)
    assert changed.rows == {}
    assert [(at, why.reason) for at, why in changed.refused] == [(5, "unknown_item")]


def test_a_deleted_item_can_be_put_again() -> None:
    assert row_after(put(), ItemDelete(item_id="a")) is None
    assert row_after(put(), ItemDelete(item_id="a"), put()) == CatalogueRow("a", SHOE, 4, 100, 0, b"")


def test_two_ids_with_one_key_are_refused() -> None:
    held, other = ONE_KEY
    assert (held != other, item_key(held)) == (True, item_key(other))
    known = {item_key(held): CatalogueRow(held, SHOE, 1, 1, 0, b"")}
    changes = [ItemPut(item_id=other, item=SHOE), StockSet(item_id=other, stock=0), ItemDelete(item_id=other)]
    changed = change_rows(list(enumerate(changes)), known, now_ms=1)
    assert changed.rows == {}
    assert [(at, why.reason) for at, why in changed.refused] == [(at, "key_collision") for at in range(3)]


@pytest.mark.parametrize("change", [put(), StockSet(item_id="a", stock=4), ItemDelete(item_id="a")])
def test_a_row_that_was_stored_under_anothers_id_takes_its_own_with_the_next_change(
    change: ItemPut | StockSet | ItemDelete,
) -> None:
    known = CatalogueRow("b", SHOE, 1, 1, 0, b"")
    changed = change_rows([(0, change)], {KEY: known}, now_ms=100)
    assert changed.refused == []
    assert changed.rows == {KEY: None if isinstance(change, ItemDelete) else CatalogueRow("a", SHOE, 4, 1, 0, b"")}


def test_a_click_on_an_unknown_item_creates_it_bare_and_on_a_known_one_changes_nothing() -> None:
    seen = ItemSeen(item_id="a", ts=42)
    assert row_after(seen) == CatalogueRow("a", Item(title="a"), UNLIMITED_STOCK, 42, 0, b"")
    assert row_after(seen, known=CatalogueRow("a", SHOE, 4, 7, 0, b"")) is None  # no row written


class OneTower:
    version = 9
    image_length = 2

    def embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        known = np.array([item.category != "" for item in items])
        return np.tile(np.array([0.6, 0.8], np.float32), (len(items), 1)), known


def test_rows_vectors_and_offset_are_committed_together(redis_settings: RedisSettings) -> None:
    reader, letters = TableReader(redis_settings, CATALOGUE), Letters()
    table = TableWriter(redis_settings, CATALOGUE)
    path = ItemPath(reader=reader, table=table, writer=letters, tower=OneTower, clock_ms=lambda: 100)
    raws = [encode_change(put()), encode_change(ItemSeen(item_id="bare", ts=3)), b'{"op":"paint"}']
    batch = Batch(Topic.ITEMS, 2, 0, 3, [Message(n, raw) for n, raw in enumerate(raws)])
    path.apply(decode_changes(batch, now_ms=100))
    shoe, bare = (
        decode_row(raw) for raw in reader.get([item_key(n).to_bytes(8, "little") for n in ("a", "bare")]) if raw
    )
    assert np.frombuffer(shoe.vector, "<f4").tolist() == np.array([0.6, 0.8], np.float32).tolist()
    assert (shoe.model_version, shoe.stock, shoe.item.title) == (9, 4, "Shoe")
    assert bare.vector == b""
    assert reader.applied("items", 2) == 3
    assert [(letter.source, letter.reason) for letter in letters.kept] == [("items:2:2", "invalid")]


class BrokenTower(OneTower):
    def embed(self, item_ids: Sequence[str], items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        vectors, known = super().embed(item_ids, items)
        vectors[[item_id == "a" for item_id in item_ids]] = np.nan
        return vectors, known


def applied(redis: RedisSettings, tower: type[OneTower], *changes: ItemPut) -> dict[str, CatalogueRow | None]:
    """Apply changes on a real Redis, twice, as after a death between dead letters and commit; return the rows."""
    log = LogSettings(partitions=4)
    reader, writer = TableReader(redis, CATALOGUE), open_writer(log, redis)
    raws = [encode_change(change) for change in changes]
    batch = Batch(Topic.ITEMS, 2, 0, len(raws), [Message(n, raw) for n, raw in enumerate(raws)])
    for table in (NoCommit(redis, CATALOGUE), TableWriter(redis, CATALOGUE)):
        path = ItemPath(reader=reader, table=table, writer=writer, tower=tower, clock_ms=lambda: 100)
        path.apply(decode_changes(batch, now_ms=100))
    names = [change.item_id for change in changes]
    raw = reader.get([item_key(name).to_bytes(8, "little") for name in names])
    return {name: decode_row(one) if one is not None else None for name, one in zip(names, raw, strict=True)}


class NoCommit(TableWriter):
    """A worker that is killed before it commits."""

    def commit(self, *changes: object, **more: object) -> int:
        return 0


def letters_of(redis: RedisSettings) -> list[tuple[str, str, str]]:
    kept = open_dead_letters(LogSettings(partitions=4), redis).read(10)
    return [(letter.source, letter.reason, letter.detail) for letter in kept]


def test_an_image_vector_of_another_size_is_dead_lettered_once_and_not_taken(redis_settings: RedisSettings) -> None:
    wrong = ItemPut(item_id="wrong", item=SHOE.model_copy(update={"image_vector": [0.5, 0.5, 0.5]}))
    right = ItemPut(item_id="right", item=SHOE.model_copy(update={"image_vector": [0.5, 0.5]}))
    rows = applied(redis_settings, OneTower, wrong, right, put())
    assert [name for name, row in rows.items() if row is not None] == ["right", "a"]
    said = "image_vector: expected 2 numbers, as the model was trained with, got 3"
    assert letters_of(redis_settings) == [("items:2:0", "bad_vector", said)]


def test_a_vector_that_is_not_finite_is_left_out_and_dead_lettered_once(redis_settings: RedisSettings) -> None:
    rows = applied(redis_settings, BrokenTower, put(), ItemPut(item_id="b", item=SHOE))
    assert rows["a"] is not None
    assert rows["b"] is not None
    assert (rows["a"].vector, len(rows["b"].vector)) == (b"", 8)
    said = "tower 0000000000000009 made a vector that is not finite of 'a': it has none now"
    assert letters_of(redis_settings) == [("items:2:0", "bad_vector", said)]


@pytest.mark.parametrize("kind", sorted(TABLES["catalogue"].kinds().keys() - {"another item"}))
def test_a_row_that_cannot_be_read_is_kept_as_a_dead_letter_and_made_good_by_the_next_put(
    redis_settings: RedisSettings, kind: str
) -> None:
    table, raw = TABLES["catalogue"], TABLES["catalogue"].kinds()[kind]
    reader, writer = TableReader(redis_settings, CATALOGUE), TableWriter(redis_settings, CATALOGUE)
    writer.commit({table.name("bad"): raw})
    path = ItemPath(
        reader=reader,
        table=writer,
        writer=open_writer(LogSettings(partitions=4), redis_settings),
        tower=lambda: None,
        clock_ms=lambda: 100,
    )

    def apply(offset: int, *changes: ItemPut | StockSet | ItemSeen) -> bytes | None:
        messages = [Message(offset + n, encode_change(change)) for n, change in enumerate(changes)]
        batch = Batch(Topic.ITEMS, 2, offset, offset + len(messages), messages)
        path.apply(decode_changes(batch, now_ms=100))
        return reader.get([table.name("bad")])[0]

    stock = StockSet(item_id="bad", stock=3)
    assert apply(0, ItemSeen(item_id="bad", ts=5), stock) == raw
    row = decode_row(apply(2, ItemPut(item_id="bad", item=Item(title="Good")), stock) or b"")
    assert (row.item.title, row.stock) == ("Good", 3)
    letters = {(source.rpartition(":")[0], reason) for source, reason, _ in letters_of(redis_settings)}
    assert letters == {(f"items:{item_key('bad')}", "bad_row"), ("items:2", "bad_row")}
    assert len(letters_of(redis_settings)) == 2


def test_a_row_that_cannot_be_read_can_be_deleted() -> None:
    changed = change_rows([(0, ItemDelete(item_id="a"))], {}, now_ms=1, unreadable={KEY})
    assert changed.rows == {KEY: None}


def test_a_full_catalogue_takes_changes_of_what_it_has_and_refuses_what_is_new() -> None:
    known = CatalogueRow("a", SHOE, 4, 7, 0, b"")
    changes = [
        ItemPut(item_id="b", item=SHOE),
        ItemPut(item_id="c", item=SHOE),
        put(Item(title="Renamed")),
        ItemSeen(item_id="d", ts=1),
        ItemDelete(item_id="a"),
        ItemPut(item_id="e", item=SHOE),
    ]
    changed = change_rows(list(enumerate(changes)), {KEY: known}, now_ms=1, room=Room(1, 1))
    assert [key for key, row in changed.rows.items() if row is not None] == [item_key("b"), item_key("e")]
    assert [(at, why.reason) for at, why in changed.refused] == [(1, "catalogue_full")]
    assert "catalogue.max_items" in changed.refused[0][1].detail


def test_a_catalogue_of_too_many_bytes_takes_deletes_and_stock_alone() -> None:
    known = CatalogueRow("a", SHOE, 4, 7, 0, b"")
    changes = [put(), StockSet(item_id="a", stock=0), ItemSeen(item_id="b", ts=1), ItemDelete(item_id="a")]
    changed = change_rows(list(enumerate(changes)), {KEY: known}, now_ms=1, room=Room(9, 0))
    assert changed.rows == {KEY: None}
    assert [(at, why.reason) for at, why in changed.refused] == [(0, "catalogue_full")]
    assert "catalogue.max_bytes" in changed.refused[0][1].detail


def test_a_patch_that_makes_no_item_of_a_row_is_refused_and_the_next_change_is_taken() -> None:
    deep: dict[str, object] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    known = CatalogueRow("a", SHOE, 4, 7, 0, b"")
    changes = [
        ItemPatch(item_id="a", patch={"attributes": deep}),
        ItemPatch(item_id="a", patch={"about": "x" * 1_000}),
        ItemPatch(item_id="a", patch={"brand": "Fell"}),
    ]
    changed = change_rows(list(enumerate(changes)), {KEY: known}, now_ms=1, room=Room(9, 10_000, item_bytes=1_000))
    assert [(at, why.reason) for at, why in changed.refused] == [(0, "invalid"), (1, "too_large")]
    assert "nested at most 200 deep" in changed.refused[0][1].detail
    row = changed.rows[KEY]
    assert row is not None
    assert row.item == Item(title="Shoe", category="shoes/trail", brand="Fell")


def test_what_the_catalogue_has_is_counted_as_it_is_written(redis_settings: RedisSettings) -> None:
    reader, writer = TableReader(redis_settings, CATALOGUE), open_writer(LogSettings(), redis_settings)
    table = TableWriter(redis_settings, CATALOGUE, counts_bytes=True)
    path = ItemPath(
        reader=reader, table=table, writer=writer, tower=lambda: None, clock_ms=lambda: 1, bounds=Room(2, 10**6)
    )
    puts = [encode_change(ItemPut(item_id=name, item=SHOE)) for name in "abc"]
    batch = Batch(Topic.ITEMS, 0, 0, 3, [Message(at, value) for at, value in enumerate(puts)])
    path.apply(decode_changes(batch, now_ms=1))

    [page] = reader.rows()
    assert reader.extent() == (2, sum(len(row) for _, row in page))
    letters = open_dead_letters(LogSettings(), redis_settings)
    assert [(letter.source, letter.reason) for letter in letters.read(9)] == [("items:0:2", "catalogue_full")]
    for one in (reader, table, writer, letters):
        one.close()
