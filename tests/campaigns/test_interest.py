"""Who waits for an item, and what of a change is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.interest import Happened, Kind, changed, happened, is_hidden, item_shown, pages, waiting_for
from contracts.events import EventCode
from contracts.items import CatalogueRow, Item
from contracts.sessions import CLICK, Clicks
from contracts.users import Hidden

VIEW, CART, BUY, HIDE, BACK = 1, 2, 3, 4, 8


def clicks(*said: tuple[int, int]) -> Clicks:
    """Return clicks of (item, code), a second apart."""
    return np.array([(1000 * at, item, at, code) for at, (item, code) in enumerate(said)], CLICK)


def test_what_was_viewed_or_put_in_the_cart_is_waited_for_newest_first() -> None:
    assert waiting_for(clicks((7, VIEW), (8, CART), (9, EventCode.LIKE), (7, VIEW)), 10) == {7: 3000, 9: 2000, 8: 1000}
    assert list(waiting_for(clicks((7, VIEW), (8, CART), (9, VIEW)), 2)) == [9, 8]


@pytest.mark.parametrize("over", [BUY, HIDE, EventCode.DISLIKE, BACK])
def test_what_was_bought_or_turned_down_is_not(over: int) -> None:
    assert waiting_for(clicks((7, VIEW), (7, over), (7, VIEW), (8, VIEW)), 10) == {8: 3000}


def test_what_was_turned_down_and_taken_back_is_again_but_not_what_was_bought() -> None:
    assert waiting_for(clicks((7, VIEW), (7, HIDE), (7, EventCode.UNHIDE)), 10) == {7: 0}
    assert waiting_for(clicks((7, VIEW), (7, BUY), (7, BACK), (7, EventCode.UNHIDE)), 10) == {}


def test_a_glance_and_a_type_that_means_nothing_are_no_interest() -> None:
    assert waiting_for(clicks((7, EventCode.GLANCE), (8, EventCode.OTHER)), 10) == {}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 10))), st.integers(1, 3))
def test_nobody_waits_for_more_than_so_many_nor_for_what_was_bought(said: list[tuple[int, int]], most: int) -> None:
    found = waiting_for(clicks(*said), most)
    assert len(found) <= most
    assert not found.keys() & {item for item, code in said if code == BUY}


def test_only_what_changed_is_noted() -> None:
    assert changed({7: 1, 8: 2}, {7: 1, 9: 3}) == ({9: 3}, [8])
    assert changed({7: 1}, {7: 5}) == ({7: 5}, [])


def row(stock: int = 5, price: float | None = 100.0, **fields: Any) -> CatalogueRow:
    return CatalogueRow("boot", Item(title="Boot", price=price, **fields), stock, 0, 0, b"")


def test_stock_from_nothing_to_some_is_told() -> None:
    assert happened(row(0), row(3), 0.05) == [Happened(Kind.BACK_IN_STOCK, 0, 3)]
    assert happened(row(1), row(3), 0.05) == []
    assert happened(row(3), row(0), 0.05) == []


def test_a_price_that_falls_by_more_than_the_setting_is_told() -> None:
    assert happened(row(), row(price=94.0), 0.05) == [Happened(Kind.PRICE_DROP, 100.0, 94.0)]
    assert happened(row(), row(price=95.0), 0.05) == []
    assert happened(row(), row(price=110.0), 0.05) == []
    assert happened(row(price=None), row(price=1.0), 0.05) == []
    assert happened(row(), row(0, price=1.0), 0.05) == []


def test_a_new_or_deleted_item_is_not_told() -> None:
    assert happened(None, row(), 0.05) == []
    assert happened(row(0), None, 0.05) == []


def test_a_call_shows_what_an_item_is() -> None:
    assert item_shown(row(brand="Fell", margin=0.4)) == {
        "item_id": "boot",
        "title": "Boot",
        "brand": "Fell",
        "price": 100.0,
        "stock": 5,
    }


def test_what_a_user_asked_not_to_be_shown_is_not_told() -> None:
    item = {"item_id": "boot", "brand": "Fell", "category": "shoes/boots"}
    assert not is_hidden(item, None)
    assert not is_hidden(item, Hidden(("sock",), ("Acme",), ("shoes/bo", "boots")))
    for hidden in (Hidden(items=("boot",)), Hidden(brands=("Fell",)), Hidden(categories=("shoes",))):
        assert is_hidden(item, hidden)


def test_users_are_named_so_many_a_call() -> None:
    assert pages(["a", "b", "c"], 2) == [["a", "b"], ["c"]]
    assert pages([], 2) == []
