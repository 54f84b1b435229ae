"""How much more a group clicks an item than all visitors do."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.ids import item_key
from retrieval.catalogue import CatalogueColumns
from retrieval.group_lifts import category_lifts, log_lifts, own_shares
from retrieval.groups import device_group
from tests.rerank.shop import NOW, item
from tests.retrieval.test_groups import clicks_of, columns_of

PHONE, TV = device_group("phone"), device_group("tv")


def test_what_phones_click_is_lifted_on_phones_and_sunk_on_televisions() -> None:
    trends = columns_of(
        clicks_of({"shoes-1": 80, "books-1": 20}, (PHONE,)), clicks_of({"shoes-1": 20, "books-1": 80}, (TV,), 1000)
    )
    catalogue = CatalogueColumns()
    catalogue.apply([item("shoes-1"), item("books-1"), item("shoes-2")])
    names = ["shoes-1", "books-1", "shoes-2"]
    keys = np.array([item_key(name) for name in names], np.uint64)
    category = catalogue.category[catalogue.rows_of(keys)]
    found = {}
    for name, group in (("phone", PHONE), ("tv", TV)):
        [row] = trends.rows_of(np.array([group], np.uint64)).tolist()
        found[name] = log_lifts(row, keys, category, trends, catalogue, NOW)
    of_category = (80 + 20) / (50 + 20)
    lift, category_lift = found["phone"]
    assert category_lift.tolist() == pytest.approx(np.log([of_category, 40 / 70, of_category]), abs=0.01)
    assert lift.tolist() == pytest.approx(
        np.log([(80 + 20 * of_category) / 70, (20 + 20 * 40 / 70) / 70, of_category]), abs=0.01
    )
    assert found["tv"][0][0] < 0 < found["tv"][0][1]


def test_an_item_that_a_full_row_does_not_name_is_clicked_no_more_than_the_last_that_it_names() -> None:
    keys, named = np.array([5, 7], np.uint64), np.array([7, 9], np.uint64)
    shares = np.array([0.5, 0.2])
    assert own_shares(keys, np.array([0.3, 0.1]), named, shares, 2).tolist() == [0.2, 0.5]
    assert own_shares(keys, np.array([0.3, 0.1]), named, np.array([0.5, 0.0]), 2).tolist() == [0.0, 0.5]


def test_items_of_no_category_share_no_lift() -> None:
    codes = np.zeros(2, np.int32)
    assert category_lifts(np.array([9.0, 9.0]), np.array([1.0, 1.0]), codes, codes).tolist() == [1.0, 1.0]
