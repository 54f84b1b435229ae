"""Searches with a filter, rows at the door, and when a new snapshot is due."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.codec import encode_row
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.settings import IndexSettings
from retrieval.ann_index import AnnIndex, Filter
from retrieval.builder import Watched, ask_for_build, due
from retrieval.canary import Canary, recall_of
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake
from retrieval.row_values import PackedBytes, RowValues
from retrieval.snapshot_folder import WANTED
from tests.retrieval.tables import DIM, row, tower

TOWER = tower()
COUNT = 3000


def shop_index(exact: bool) -> tuple[CatalogueColumns, AnnIndex]:
    """3,000 items: every 100th in shoes/trail, every 1,000th of those sold in DE only, every 500th out of stock."""
    columns = CatalogueColumns(model_version=TOWER.version, dim=DIM)
    index = AnnIndex(columns, exact_up_to=COUNT if exact else 1)
    intake = Intake(columns, index)
    rows = []
    for n in range(COUNT):
        rare = n % 100 == 0
        raw = row(
            f"i{n}",
            TOWER,
            stock=0 if n % 500 == 0 else 5,
            category="shoes/trail" if rare else "coats",
            regions=["DE"] if n % 1000 == 100 else None,
        )
        rows.append((item_key(f"i{n}"), raw))
    intake.take(rows)
    index.rebuild()
    assert index.is_exact == exact
    return columns, index


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "graph"])
def test_a_rare_category_fills_the_page(exact: bool) -> None:
    columns, index = shop_index(exact)
    rows, similarity = index.search(columns.vectors[[7]], 20, [Filter(category="shoes")])
    assert (rows >= 0).all()
    assert set(rows[0].tolist()) <= set(range(0, COUNT, 100))
    assert (np.diff(similarity[0]) <= 0).all()
    best = columns.vectors[np.arange(0, COUNT, 100)] @ columns.vectors[7]
    assert similarity[0].tolist() == pytest.approx(np.sort(best)[::-1][:20].tolist(), abs=1e-5)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "graph"])
def test_a_short_page_says_what_starved_it(exact: bool) -> None:
    columns, index = shop_index(exact)
    wanted = Filter("/shoes/trail/", "FR", in_stock=True)
    rows, similarity = index.search(columns.vectors[[7]], 40, [wanted])
    assert int((rows >= 0).sum()) == 21
    assert similarity[0, 21:].tolist() == [0.0] * 19
    assert index.left_by(wanted) == {"items": 3000, "category": 30, "region": 27, "in_stock": 21}
    assert index.search(columns.vectors[[7]], 5, [Filter("hats")])[0].tolist() == [[-1] * 5]
    assert index.left_by(Filter("hats")) == {"items": 3000, "category": 0}


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "graph"])
def test_every_query_of_a_batch_has_a_filter_of_its_own(exact: bool) -> None:
    columns, index = shop_index(exact)
    queries = columns.vectors[[7, 7, 12]]
    wanted = [Filter(category="shoes"), None, Filter(category="coats")]
    rows, _ = index.search(queries, 10, wanted)
    assert set(rows[0].tolist()) <= set(range(0, COUNT, 100))
    assert rows[1].tolist() == index.search(queries[1:2], 10)[0][0].tolist()
    assert not set(rows[2].tolist()) & set(range(0, COUNT, 100))
    for at, one in enumerate(wanted):
        assert rows[at].tolist() == index.search(queries[[at]], 10, [one])[0][0].tolist()


def test_a_filter_that_lets_all_through_finds_what_a_search_finds() -> None:
    columns, index = shop_index(exact=False)
    rows, _ = index.search(columns.vectors[[7]], 50, [Filter()])
    assert rows.tolist() == index.search(columns.vectors[[7]], 50)[0].tolist()


def test_rows_that_are_held_are_not_taken_twice() -> None:
    columns = CatalogueColumns(model_version=TOWER.version, dim=DIM)
    taken: list[int] = []

    class Index(AnnIndex):
        def apply(self, rows: np.ndarray) -> None:
            taken.append(len(rows))
            super().apply(rows)

    intake = Intake(columns, Index(columns))
    rows = [(item_key(f"i{n}"), row(f"i{n}", TOWER)) for n in range(3)]
    intake.take(rows)
    intake.take(rows)
    intake.take([*rows[:2], (item_key("i2"), row("i2", TOWER, stock=1))])
    assert taken == [3, 0]
    assert columns.stock[:3].tolist() == [5, 5, 1]
    intake.take([(item_key("i0"), None)])
    intake.take(rows[:1])
    assert columns.alive[:3].tolist() == [True, True, True]


def test_a_row_of_another_tower_or_none_is_embedded_at_the_door() -> None:
    columns = CatalogueColumns(model_version=8, dim=DIM)
    newer = tower(8, seed=3)
    asked = []

    def load() -> object:
        asked.append(1)
        return newer

    intake = Intake(columns, AnnIndex(columns), load)  # type: ignore[arg-type]
    intake.take([(item_key("i1"), row("i1", TOWER)), (item_key("i2"), row("i2", None))])
    intake.take([(item_key("i3"), row("i3", TOWER)), (item_key("unheard"), row("unheard", TOWER))])
    assert asked == [1]
    assert columns.has_vector[:4].tolist() == [True, True, True, False]
    assert columns.vectors[0].tolist() == newer.embed(["i1"], [Item(title="t")])[0][0].tolist()


@pytest.mark.parametrize("vector", [np.full(DIM, np.nan), np.ones(DIM - 1), np.full(DIM, np.inf)])
def test_a_vector_that_cannot_be_is_left_out_alone(vector: np.ndarray) -> None:
    columns = CatalogueColumns(model_version=7, dim=DIM)
    index = AnnIndex(columns)
    bad = encode_row(CatalogueRow("bad", Item(title="bad"), 5, 0, 7, vector.astype("<f4").tobytes()))
    rows = [(item_key("i1"), row("i1", TOWER)), (item_key("bad"), bad), (item_key("i2"), row("i2", TOWER))]
    assert Intake(columns, index).take_each(rows) == 1
    assert len(index) == 2
    assert columns.rows_of(np.array([item_key("bad")], np.uint64)).tolist() == [-1]


SEEN = Watched(
    items=100, served=7, trained=7, refused=None, delta_share=0.0, tombstone_share=0.0, recall=None, asked=None
)
SETTINGS = IndexSettings(min_items=50)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (SEEN, None),
        (replace(SEEN, served=None), "the first one, of 100 items"),
        (replace(SEEN, served=None, items=49), None),
        (replace(SEEN, trained=8), "a new item tower, 0000000000000008"),
        (replace(SEEN, trained=8, refused=8), None),
        (replace(SEEN, delta_share=0.11), "11.0% of the snapshot's items changed"),
        (replace(SEEN, tombstone_share=0.21), "21.0% of the rows are tombstones"),
        (replace(SEEN, recall=0.94), "recall@100 fell to 0.940"),
        (replace(SEEN, recall=0.96), None),
        (replace(SEEN, trained=8, refused=8, asked="by hand"), "asked for: by hand"),
    ],
)
def test_a_new_snapshot_is_due_for_a_reason(seen: Watched, why: str | None) -> None:
    assert due(seen, SETTINGS) == why


def test_anybody_may_ask_for_a_snapshot(tmp_path: Path) -> None:
    ask_for_build(tmp_path / "new", "recall fell")
    assert (tmp_path / "new" / WANTED).read_text() == "recall fell"


def test_the_canary_measures_what_searches_missed() -> None:
    columns, index = shop_index(exact=True)
    canary = Canary(1.0, np.random.default_rng(1))
    index.observer = canary.offer
    rows, _ = index.search(columns.vectors[:1], 10)
    probe = canary.next()
    assert probe is not None
    assert recall_of(index.frozen(), probe) == 1.0
    assert recall_of(index, probe._replace(rows=np.where(np.arange(10) < 3, -1, rows[0]))) == pytest.approx(0.7)
    assert canary.next() is None
    canary.learn(1.0)
    canary.learn(0.5)
    assert canary.recall == 0.75


def test_the_canary_compares_with_what_the_filter_leaves() -> None:
    columns, index = shop_index(exact=False)
    canary = Canary(1.0, np.random.default_rng(1))
    index.observer = canary.offer
    index.search(columns.vectors[[7]], 10, [Filter(category="shoes")])
    probe = canary.next()
    assert probe is not None
    assert probe.wanted == Filter(category="shoes")
    assert recall_of(index, probe) == 1.0


def test_a_frozen_copy_keeps_its_words_while_the_live_index_learns_new_ones() -> None:
    columns, index = shop_index(exact=True)
    still = index.frozen()
    columns.apply([(item_key("new"), CatalogueRow("new", Item(title="new", category="hats"), 1, 0, 0, b""))])
    assert columns.category_code("hats") > 0
    assert still.catalogue.category_code("hats") == -1
    rows, _ = still.search(columns.vectors[[7]], 10, [Filter(category="shoes")])
    assert rows.tolist() == index.search(columns.vectors[[7]], 10, [Filter(category="shoes")])[0].tolist()


def test_no_live_search_is_kept_without_a_share() -> None:
    canary = Canary(0.0, np.random.default_rng(1))
    canary.offer(np.ones((1, 2), np.float32), 1, np.zeros((1, 1), np.int32))
    assert canary.next() is None


def test_packed_values_are_read_and_covered() -> None:
    ends = np.array([0, 1, 3], np.int64)
    values = RowValues(bytes.decode, str.encode, PackedBytes(np.frombuffer(b"abb\n", np.uint8), ends))
    assert values == ["a", "bb"]
    values[0] = "z"
    values.extend_to(3, "new")
    assert values == ["z", "bb", "new"]
    assert [values.raw(at) for at in range(3)] == [b"z", b"bb", b"new"]
    assert values.picked(np.array([2, 0])) == ["new", "z"]
    assert values[-1] == "new"


def test_columns_that_became_others_hold_theirs() -> None:
    one, other = CatalogueColumns(), CatalogueColumns()
    other.apply([(ItemKey(item_key("a")), CatalogueRow("a", Item(title="A"), 5, 0, 0, b""))])
    one.replace_in_place(other)
    assert one.item_ids == ["a"]
    assert one.count == 1
