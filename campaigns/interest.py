"""Who waits for an item, and what of an item is worth telling them. Pure.

A user waits for what they viewed, liked or put in the cart, and did not buy, send back or turn down: as far as the
clicks that their profile keeps say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from contracts.events import AGAINST, INTEREST, EventCode
from contracts.items import LINK, CatalogueRow
from contracts.sessions import Clicks
from contracts.users import Hidden

_INTEREST: Final = frozenset(int(code) for code in INTEREST - {EventCode.PURCHASE})
_OVER: Final = frozenset(int(code) for code in AGAINST | {EventCode.PURCHASE})
SHOWN: Final = ("title", "category", "brand", "price", "image_url", LINK, "attributes")
"""Fields of an item that a call brings along, beside its id and stock."""

Waiting = Mapping[int, int]
"""ItemKey to the last click on it, epoch ms."""


class Kind(StrEnum):
    """What happened to an item."""

    PRICE_DROP = "price_drop"
    BACK_IN_STOCK = "back_in_stock"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to an item: `before` and `now` are prices or stocks."""

    kind: Kind
    before: float
    now: float


def waiting_for(clicks: Clicks, most: int) -> dict[int, int]:
    """Return what clicks (n,) say that a user waits for: the newest `most` items, newest first.

    An item that was bought, sent back or turned down is not waited for, whatever was clicked before or after; one that
    was taken back (`unhide`) is again.
    """
    last: dict[int, int] = {}
    over: dict[int, bool] = {}
    for ts_ms, item, code in zip(*(clicks[name].tolist() for name in ("ts_ms", "item", "code")), strict=True):
        if code in _INTEREST:
            last[item] = ts_ms
        elif code in _OVER:
            over[item] = over.get(item, False) or code == EventCode.PURCHASE
        elif code == EventCode.UNHIDE and not over.get(item, True):
            del over[item]
    left = [(ts_ms, item) for item, ts_ms in last.items() if item not in over]
    return {item: ts_ms for ts_ms, item in sorted(left, reverse=True)[:most]}


def changed(before: Waiting, after: Waiting) -> tuple[dict[int, int], list[int]]:
    """Return the items that a user waits for anew or has clicked again, and those waited for no more."""
    anew = {item: ts_ms for item, ts_ms in after.items() if before.get(item) != ts_ms}
    return anew, [item for item in before if item not in after]


def happened(before: CatalogueRow | None, now: CatalogueRow | None, price_drop: float) -> list[Happened]:
    """Return what a change of an item's row is worth telling: stock from 0 to more; a price that fell by more than the
    share `price_drop`, of an item that can be bought.
    """
    if before is None or now is None or now.stock <= 0:
        return []
    found = []
    if before.stock <= 0:
        found.append(Happened(Kind.BACK_IN_STOCK, before.stock, now.stock))
    old, new = before.item.price, now.item.price
    if old is not None and new is not None and new < old * (1 - price_drop):
        found.append(Happened(Kind.PRICE_DROP, old, new))
    return found


def item_shown(row: CatalogueRow) -> dict[str, Any]:
    """Return what a call says of an item."""
    fields = {name: value for name in SHOWN if (value := getattr(row.item, name, None)) not in (None, "")}
    return {"item_id": row.item_id, **fields, "stock": row.stock}


def is_hidden(item: Mapping[str, Any], hidden: Hidden | None) -> bool:
    """Tell whether a user asked not to be shown an item, its brand, or its category or one above it."""
    if hidden is None:
        return False
    category = f"{item.get('category', '')}/"
    return (
        item["item_id"] in hidden.items
        or item.get("brand", "") in hidden.brands
        or any(category.startswith(f"{one.rstrip('/')}/") for one in hidden.categories)
    )


def pages(users: Sequence[str], a_call: int) -> list[Sequence[str]]:
    """Split users into those of one call each."""
    return [users[at : at + a_call] for at in range(0, len(users), a_call)]
