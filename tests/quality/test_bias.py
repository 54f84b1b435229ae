"""Exposure and click rates by what items and visitors are."""

from __future__ import annotations

from contracts.items import Item
from contracts.plain_events import PlainEvent
from quality.bias import Share, bias

ITEMS = {
    "a": Item(title="A", price=1, supplier="north"),
    "b": Item(title="B", price=2, supplier="north"),
    "c": Item(title="C", price=30, supplier="south"),
    "d": Item(title="D", price=400),
}
HOUR_MS = 3_600_000


def shown(ts: int, items: list[str], device: str | None = "phone") -> PlainEvent:
    context = {"device": device, "region": "at"}
    return PlainEvent(1, f"p{ts}", "impression", "s", ts, items=items, context=context)


def click(ts: int, item: str) -> PlainEvent:
    return PlainEvent(1, f"c{ts}", "view", "s", ts, item_id=item)


def test_exposure_and_hits_are_told_apart_by_supplier_price_age_region_and_device() -> None:
    events = [
        shown(0, ["a", "b", "c"]),
        PlainEvent(1, "v", "impression", "s", 5, items=["a"], request_id="r", context={"seen": True}),
        click(10, "a"),
        click(20, "a"),  # once a page and item
        click(30, "d"),  # was not shown
        shown(2 * HOUR_MS, ["a", "d"], device=None),
        click(2 * HOUR_MS + 1, "d"),
        click(2 * HOUR_MS + 1_800_001, "a"),  # too late
    ]
    assert bias(events, ITEMS) == [
        Share("supplier", "north", 2, 3, 1),
        Share("supplier", "south", 1, 1, 0),
        Share("supplier", "unknown", 1, 1, 1),
        Share("price", "lowest quarter", 1, 2, 1),
        Share("price", "highest quarter", 1, 1, 1),
        Share("price", "second quarter", 1, 1, 0),
        Share("price", "third quarter", 1, 1, 0),
        Share("age", "under an hour", 0, 3, 1),
        Share("age", "under a day", 0, 2, 1),
        Share("region", "at", 0, 5, 2),
        Share("device", "phone", 0, 3, 1),
        Share("device", "unknown", 0, 2, 1),
    ]
    assert Share("price", "x", 1, 0, 0).click_rate is None


def test_without_items_and_pages_there_is_nothing_to_say() -> None:
    assert bias([click(1, "a")], {}) == []
