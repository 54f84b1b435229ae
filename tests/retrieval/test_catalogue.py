"""The catalogue as columns: changes, tombstones, vectors of one model, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.codec import decode_row, encode_row
from contracts.ids import ItemKey, item_key
from contracts.items import UNLIMITED_STOCK, CatalogueRow, Item
from retrieval.catalogue import EVERYWHERE, CatalogueColumns
from tests.one_key import ONE_KEY

MODEL = 0xAB


def put(
    item_id: str, vector: list[float] | None = None, *, model: int = MODEL, stock: int = 5, **fields: Any
) -> tuple[ItemKey, CatalogueRow]:
    fields.setdefault("title", item_id.upper())
    row = CatalogueRow(
        item_id=item_id,
        item=Item(**fields),
        stock=stock,
        created_ms=1_000,
        model_version=model if vector is not None else 0,
        vector=b"" if vector is None else np.array(vector, "<f4").tobytes(),
    )
    return item_key(item_id), decode_row(encode_row(row))


def keys(*item_ids: str) -> np.ndarray:
    return np.array([item_key(item_id) for item_id in item_ids], np.uint64)


def test_a_row_holds_what_the_site_sent() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("a", [1, 0], category="shoes/trail", brand="Fox", price=9.5, margin=0.3, min_age=18)])
    catalogue.apply([put("b", stock=UNLIMITED_STOCK)])
    assert catalogue.rows_of(keys("b", "a", "c")).tolist() == [1, 0, -1]
    assert catalogue.item_ids == ["a", "b"]
    assert catalogue.documents[0].title == "A"
    assert catalogue.price[0] == 9.5
    assert np.isnan(catalogue.price[1])
    assert catalogue.margin[0] == np.float32(0.3)
    assert np.isnan(catalogue.margin[1])
    assert catalogue.stock[:2].tolist() == [5, UNLIMITED_STOCK]
    assert catalogue.min_age[:2].tolist() == [18, 0]
    assert catalogue.created_ms[:2].tolist() == [1_000, 1_000]
    assert catalogue.alive[:2].tolist() == [True, True]


def test_equal_categories_share_a_code_at_their_level() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("a", category="x/y"), put("b", category="/x/y/"), put("c", category="x"), put("d")])
    assert catalogue.category[0] == catalogue.category[1] != catalogue.category[2]
    assert catalogue.top_category[0] == catalogue.top_category[2] == catalogue.category[2]
    assert catalogue.category[3] == 0
    assert catalogue.category_code("x/y") == catalogue.category[0]
    assert catalogue.category_code("never") == -1


def test_a_deleted_item_is_a_tombstone_and_takes_its_row_again() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("a", [1, 0]), put("b", [0, 1])])
    assert catalogue.apply([(item_key("a"), None)]).reindex.tolist() == [0]
    assert catalogue.alive[:2].tolist() == [False, True]
    assert catalogue.vectors_of(keys("a"))[0].tolist() == [[1.0, 0.0]]
    assert catalogue.apply([put("a", [1, 0])]).reindex.tolist() == [0]
    assert catalogue.alive[:2].tolist() == [True, True]
    assert catalogue.count == 2


def test_deleting_what_was_never_there_leaves_nothing_alive() -> None:
    catalogue = CatalogueColumns()
    applied = catalogue.apply([(item_key("ghost"), None)])
    assert applied.reindex.tolist() == []
    assert not catalogue.alive[: catalogue.count].any()


def test_only_a_changed_vector_wants_the_index() -> None:
    catalogue = CatalogueColumns()
    assert catalogue.apply([put("a", [1, 0]), put("b")]).reindex.tolist() == [0, 1]
    stock = catalogue.apply([put("a", [1, 0], stock=0)])
    assert (stock.rows.tolist(), stock.reindex.tolist()) == ([0], [])
    assert catalogue.stock[0] == 0
    assert catalogue.apply([put("a", [0, 1])]).reindex.tolist() == [0]


def test_the_last_change_of_an_item_in_a_batch_counts() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("a", stock=1), put("a", stock=2), (item_key("b"), None), put("b", stock=3)])
    assert catalogue.stock[:2].tolist() == [2, 3]
    assert catalogue.alive[:2].tolist() == [True, True]


@pytest.mark.parametrize("bad", [[1.0, 0.0, 0.0], [float("nan"), 0.0], [float("inf"), 0.0]])
def test_a_bad_vector_is_refused_before_anything_changes(bad: list[float]) -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("a", [1, 0], stock=5)])
    with pytest.raises(ValueError, match=r"item 'bad': expected"):
        catalogue.apply([put("a", [0, 1], stock=9), put("new", [1, 0]), put("bad", bad)])
    assert catalogue.count == 1
    assert catalogue.stock[0] == 5
    assert catalogue.vectors_of(keys("a"))[0].tolist() == [[1.0, 0.0]]


def test_vectors_of_another_model_version_are_never_mixed_in() -> None:
    catalogue = CatalogueColumns(model_version=MODEL, dim=2)
    catalogue.apply([put("old", [1, 0, 0], model=0xCD), put("new", [1, 0])])
    assert catalogue.has_vector[:2].tolist() == [False, True]
    assert catalogue.model_versions[:2].tolist() == [0xCD, MODEL]
    catalogue.apply([put("old", [0, 1])])
    assert catalogue.vectors_of(keys("old"))[0].tolist() == [[0.0, 1.0]]
    assert catalogue.apply([put("new", [0, 1], model=0xCD)]).reindex.tolist() == [1]
    vectors, known = catalogue.vectors_of(keys("new"))
    assert (vectors.tolist(), known.tolist()) == ([[0.0, 0.0]], [False])


def test_the_first_vector_sets_version_and_size() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("bare")])
    assert (catalogue.model_version, catalogue.dim) == (None, None)
    assert catalogue.vectors_of(keys("bare"))[1].tolist() == [False]
    catalogue.apply([put("a", [0, 1, 0])])
    assert (catalogue.model_version, catalogue.dim) == (MODEL, 3)
    vectors, known = catalogue.vectors_of(keys("bare", "a", "nobody"))
    assert vectors.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert known.tolist() == [False, True, False]


def test_columns_grow_past_their_first_room() -> None:
    catalogue = CatalogueColumns()
    for start in range(0, 3000, 500):
        catalogue.apply([put(f"i{number}", [number, 1], stock=number) for number in range(start, start + 500)])
    wanted = keys("i0", "i1023", "i1024", "i2999")
    assert catalogue.rows_of(wanted).tolist() == [0, 1023, 1024, 2999]
    assert catalogue.stock[catalogue.rows_of(wanted)].tolist() == [0, 1023, 1024, 2999]
    assert catalogue.vectors_of(wanted)[0][:, 0].tolist() == [0, 1023, 1024, 2999]


def test_an_item_without_regions_is_sold_everywhere() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put("all"), put("de", regions=["DE"]), put("both", regions=["DE", "FR"])])
    rows = np.arange(3, dtype=np.int32)
    assert catalogue.region_mask[0] == EVERYWHERE
    assert catalogue.sold_in(rows, "DE").tolist() == [True, True, True]
    assert catalogue.sold_in(rows, "FR").tolist() == [True, False, True]
    assert catalogue.sold_in(rows, "XX").tolist() == [True, False, False]
    assert catalogue.sold_in(rows, None).tolist() == [True, True, True]


def test_regions_beyond_the_mask_are_still_told_apart() -> None:
    catalogue = CatalogueColumns()
    catalogue.apply([put(f"i{number}", regions=[f"r{number}"]) for number in range(70)])
    catalogue.apply([put("two", regions=["r69", "r3"]), put("all")])
    rows = np.arange(72, dtype=np.int32)
    for number in range(70):
        sold = set(np.flatnonzero(catalogue.sold_in(rows, f"r{number}")).tolist())
        assert sold == {number, 71} | ({70} if number in (3, 69) else set())
    assert np.flatnonzero(catalogue.sold_in(rows, "elsewhere")).tolist() == [71]
    catalogue.apply([put("two", regions=["r3"])])
    assert np.flatnonzero(catalogue.sold_in(rows, "r69")).tolist() == [69, 71]
    assert sorted(catalogue.words.further_regions) == [f"r{number}" for number in range(63, 70)]
    catalogue.apply([put(f"i{number}") for number in range(70)])
    assert catalogue.words.further_regions == {}  # a region that no item has costs no write of another


def test_an_item_whose_key_another_has_is_refused_with_both_names() -> None:
    catalogue = CatalogueColumns()
    held, other = ONE_KEY
    catalogue.apply([put(held, title="Held")])
    with pytest.raises(ValueError, match=r"share the key 6f6b2e901d13825b: rename one of them"):
        catalogue.apply([put(other, title="Other"), put("a")])
    assert (catalogue.count, catalogue.documents[0].title) == (1, "Held")


def test_a_row_of_the_table_that_names_an_item_of_another_key_is_refused() -> None:
    catalogue = CatalogueColumns()
    _, other = put("b")
    with pytest.raises(ValueError, match=r"names item 'b', which has another key: put its item again"):
        catalogue.apply([(item_key("a"), other)], {item_key("a"): 7})
    assert catalogue.count == 0


def test_a_row_that_a_snapshot_holds_under_anothers_id_takes_its_own_with_the_next_change() -> None:
    catalogue = CatalogueColumns()
    _, other = put("b", stock=5)
    catalogue.apply([(item_key("a"), other)])
    catalogue.apply([put("a", stock=0)], {item_key("a"): 7})
    assert (catalogue.item_ids[0], catalogue.stock[0], catalogue.count) == ("a", 0, 1)
