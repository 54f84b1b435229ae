"""Is a pick still right when it is sent? Pure: what is known now is handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

_CENT: Final = 0.005


class Wrong(StrEnum):
    """Why an item is not to be sent, or (the last two) a whole pick."""

    GONE = "gone"
    """The catalogue does not have it any more."""
    OUT_OF_STOCK = "out_of_stock"
    PRICE = "price_changed"
    BOUGHT = "bought"
    """The user bought it after it was picked."""
    HIDDEN = "hidden"
    """By the user: the item, its brand or its category."""
    CONSENT = "consent"
    CAP = "cap"


class ItemNow(NamedTuple):
    """An item of a pick as it is now. `price` None: it has none."""

    in_stock: bool
    price: float | None
    hidden: bool


class UserNow(NamedTuple):
    """A user as they are now. `bought` maps items to the newest purchase (epoch ms)."""

    consents: bool
    capped: bool
    bought: Mapping[str, int]


class Picked(NamedTuple):
    """An item as it was picked. `price` None: the pick does not say."""

    item_id: str
    price: float | None = None


def wrong_with_user(user: UserNow) -> list[Wrong]:
    """Return why nothing at all is to be sent to a user; empty where all is well."""
    return [why for why, is_so in ((Wrong.CONSENT, not user.consents), (Wrong.CAP, user.capped)) if is_so]


def wrong_with_item(picked: Picked, now: ItemNow | None, user: UserNow, at_ms: int) -> Wrong | None:
    """Return why an item that was picked at a moment (epoch ms) is not to be sent, the first reason of several; None
    where it is still right. `now` None: it is gone.
    """
    if now is None:
        return Wrong.GONE
    if not now.in_stock:
        return Wrong.OUT_OF_STOCK
    if now.hidden:
        return Wrong.HIDDEN
    if user.bought.get(picked.item_id, -1) >= at_ms:
        return Wrong.BOUGHT
    return Wrong.PRICE if picked.price is not None and _differ(picked.price, now.price) else None


def _differ(was: float, now: float | None) -> bool:
    """Prices are kept as 32-bit floats: what rounds to the same cent is the same, and so is what no such float tells
    apart.
    """
    return now is None or abs(was - now) > max(_CENT, 1e-6 * abs(was))


def may_be_sent(of_user: Sequence[Wrong], of_items: Sequence[Wrong | None]) -> bool:
    """Tell whether anything is left to send."""
    return not of_user and any(why is None for why in of_items)
