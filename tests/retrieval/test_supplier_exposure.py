"""Which suppliers are small: followed as items, showings and suppliers change."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import ShowingBlock
from contracts.ids import item_key
from contracts.items import CatalogueRow, item_of
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import ItemFields
from retrieval.supplier_exposure import SupplierExposure
from retrieval.trend_columns import TrendColumns

NAMES = ("north", "south", "east", "west")


def put(catalogue: CatalogueColumns, item_id: str, supplier: str | None) -> None:
    item = item_of({"title": item_id, "supplier": supplier})
    catalogue.apply([(item_key(item_id), CatalogueRow(item_id, item, 5, 0, 0, b""))])


def show(trends: TrendColumns, **times: float) -> None:
    """Say how often items were shown; the others never."""
    keys = np.sort(np.array([item_key(name) for name in times], np.uint64))
    of = {item_key(name): many for name, many in times.items()}
    shown = np.array([of[key] for key in keys.tolist()], np.float32)
    trends.apply_showings([(0, ShowingBlock(keys, shown, np.zeros(len(keys), np.float32)))])


def small(exposure: SupplierExposure, catalogue: CatalogueColumns, trends: TrendColumns) -> list[str]:
    rows = np.arange(catalogue.count, dtype=np.int32)
    held = exposure.small(catalogue, trends, rows)
    return [catalogue.item_ids[row] for row in rows[held].tolist()]


def test_the_quarter_that_was_shown_least_is_small_and_follows_every_change() -> None:
    catalogue, trends, exposure = CatalogueColumns(), TrendColumns(), SupplierExposure()
    for name in NAMES:
        put(catalogue, name, name)
    put(catalogue, "nobody's", None)
    show(trends, north=10, south=20, east=30, west=40)
    assert small(exposure, catalogue, trends) == ["north"]
    show(trends, north=90, south=20, east=30, west=40)
    assert small(exposure, catalogue, trends) == ["south"]
    put(catalogue, "south", "north")
    assert small(exposure, catalogue, trends) == ["east"]
    catalogue.apply([(item_key("east"), None)])
    put(catalogue, "new", "newcomer")
    assert small(exposure, catalogue, trends) == ["east", "new"]


def test_columns_that_were_exchanged_are_counted_anew() -> None:
    catalogue, trends, exposure = CatalogueColumns(), TrendColumns(), SupplierExposure()
    for name in NAMES:
        put(catalogue, name, name)
    show(trends, north=10, south=20, east=30, west=40)
    assert small(exposure, catalogue, trends) == ["north"]
    catalogue.fields = ItemFields()
    put(catalogue, "north", "west")
    assert small(exposure, catalogue, trends) == ["south"]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([*NAMES, None, "gone"]), st.integers(0, 9)), max_size=30
    )
)
def test_what_followed_each_change_says_what_looking_at_everything_says(
    changes: list[tuple[str, str | None, int]],
) -> None:
    catalogue, trends, exposure = CatalogueColumns(), TrendColumns(), SupplierExposure()
    times: dict[str, float] = {}
    for item_id, supplier, shown in changes:
        if supplier == "gone":
            catalogue.apply([(item_key(item_id), None)])
        else:
            put(catalogue, item_id, supplier)
        times[item_id] = shown
        show(trends, **times)
        assert small(exposure, catalogue, trends) == small(SupplierExposure(), catalogue, trends)
