"""What a profile says of a user: weighed by type and age, and less with each click of the session."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.events import EventCode
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.profiles import Profile
from contracts.sessions import CLICK
from rerank.affinities import Learnt, value_of, weights_of
from rerank.taste import blended
from retrieval.catalogue import CatalogueColumns

DAY = 86_400_000
NOW = 100 * DAY
WEIGHTS = weights_of({"view": 1.0, "cart": 3.0, "purchase": 5.0})
ITEMS = {
    "boot": Item(title="Boot", category="shoes/boots", brand="Fell", price=90.0),
    "clog": Item(title="Clog", category="shoes/clogs", price=30.0),
    "lamp": Item(title="Lamp", category="home", brand="Glow"),
}


@pytest.fixture(scope="module")
def catalogue() -> CatalogueColumns:
    columns = CatalogueColumns()
    columns.apply([(ItemKey(item_key(name)), CatalogueRow(name, item, 5, 0, 0, b"")) for name, item in ITEMS.items()])
    return columns


def learnt(*clicks: tuple[str, EventCode, float]) -> Learnt:
    """Return a profile of clicks (item, type, days ago)."""
    window = [(NOW - round(days * DAY), item_key(item), n, code) for n, (item, code, days) in enumerate(clicks)]
    return Learnt(Profile(np.array(window, CLICK), events=len(clicks), purchases=2), WEIGHTS, 14.0 * DAY)


def test_what_counts_most_comes_first(catalogue: CatalogueColumns) -> None:
    views = [("lamp", EventCode.VIEW, 0.0)] * 4
    bought = learnt(*views, ("boot", EventCode.PURCHASE, 0), ("gone", EventCode.VIEW, 0), ("clog", EventCode.OTHER, 0))
    assert value_of(bought, "categories", catalogue, NOW) == ("shoes/boots", "home")
    assert value_of(bought, "brands", catalogue, NOW) == ("Fell", "Glow")
    faded = learnt(*views, ("boot", EventCode.PURCHASE, 28))  # 5 a quarter
    assert value_of(faded, "brands", catalogue, NOW) == ("Glow", "Fell")


def test_prices_are_averaged_by_what_clicks_count(catalogue: CatalogueColumns) -> None:
    found = learnt(("boot", EventCode.CART, 14), ("clog", EventCode.VIEW, 0), ("lamp", EventCode.VIEW, 0))
    assert value_of(found, "price", catalogue, NOW) == pytest.approx((1.5 * 90 + 30) / 2.5)
    assert value_of(learnt(("lamp", EventCode.VIEW, 0)), "price", catalogue, NOW) is None


def test_a_profile_without_a_click_says_nothing(catalogue: CatalogueColumns) -> None:
    nobody, nothing = Learnt(Profile(), WEIGHTS, 14.0 * DAY), CatalogueColumns()
    for columns in (catalogue, nothing):
        assert [value_of(nobody, name, columns, NOW) for name in ("brands", "categories")] == [(), ()]
        assert [value_of(nobody, name, columns, NOW) for name in ("price", "device", "region")] == [None] * 3
    assert value_of(learnt(("boot", EventCode.VIEW, 0)), "brands", nothing, NOW) == ()


def test_a_taste_weighs_as_one_click_among_the_sessions() -> None:
    session, taste = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    assert blended(session, taste, 1, 1.0).tolist() == pytest.approx([0.5**0.5] * 2)
    found = blended(session, taste, 3, 1.0)
    assert (found / found[1]).tolist() == pytest.approx([3.0, 1.0])
    assert blended(session, -session, 1, 1.0).tolist() == [1.0, 0.0]
