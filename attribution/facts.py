"""Facts of attribution: pages that were shown, what was seen of them, and outcomes, from events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from contracts.events import EventCode
from contracts.ids import item_key
from contracts.plain_events import PlainEvent

SCALE: Final = 10_000
"""Counters and money are whole ten-thousandths."""
MOST_VALUE: Final = 100_000_000
"""A line's value counts up to this, in units of its currency; one beyond, or below 0, counts as none."""
NO_CURRENCY: Final = "XXX"
"""ISO 4217's code of no currency."""
KEY_BYTES: Final = 8
_LONGEST: Final = 64
_OWN: Final = "impression-"
_DEVICES: Final = frozenset({"phone", "mobile", "tablet", "desktop", "tv", "app"})
_is_region: Final = re.compile(r"[a-zA-Z]{2}").fullmatch
OTHER: Final = "other"
YES_NO: Final = {True: "yes", False: "no"}

CLICK, CART, PURCHASE, RETURN = "click", "cart", "purchase", "return"
KINDS: Final = {
    EventCode.VIEW: CLICK,
    EventCode.GLANCE: CLICK,
    EventCode.LOOK: CLICK,
    EventCode.CART: CART,
    EventCode.PURCHASE: PURCHASE,
    EventCode.RETURN: RETURN,
}
"""Outcomes by what an event means; others are none."""


class Dims(NamedTuple):
    """What figures are told apart by, as texts; "" where it is not known."""

    recommended: str = "yes"
    scenario: str = ""
    version: str = ""
    experiment: str = ""
    variant: str = ""
    model: str = ""
    rung: str = ""
    returning: str = ""
    device: str = ""
    region: str = ""


NOT_RECOMMENDED: Final = Dims("no")
"""Of outcomes that no page brought."""


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A page that was shown. `items` are 8-byte little-endian item keys, in the order shown; `margins`, shares of the
    price in ten-thousandths, stand beside them, None where no item has one. `propensity`: the probability with which
    its variant was drawn. Of an interleaved page `between` names the two variants, and `teams` has a byte an item: 0
    for one of the first, 1 for one of the second.
    """

    page_id: str
    ts: int
    user_id: str | None
    dims: Dims
    items: bytes
    margins: tuple[int | None, ...] | None = None
    propensity: float | None = None
    between: tuple[str, str] | None = None
    teams: bytes = b""

    def position_of(self, item: bytes) -> int:
        """Return where an item stands on the page, from 1; 0 where it does not."""
        at = self.items.find(item)
        while at % KEY_BYTES and at >= 0:
            at = self.items.find(item, at + 1)
        return at // KEY_BYTES + 1

    def margin_at(self, position: int) -> int | None:
        """Return the margin at a position, in ten-thousandths of the price."""
        return self.margins[position - 1] if self.margins is not None else None


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a client says was seen of a page."""

    page_id: str
    items: bytes


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A click, cart, purchase or return. `money` is the line's value in ten-thousandths, None without one."""

    event_id: str
    ts: int
    kind: str
    item: bytes
    request_id: str | None
    money: int | None
    currency: str
    quantity: int
    order_id: str | None


class Fact(NamedTuple):
    """What one event says, of whom."""

    session_id: str
    user_id: str | None
    ts: int
    what: Page | Seen | Outcome


def fact_of(event: PlainEvent) -> Fact | None:
    """Return what an event says for attribution; None for one that says nothing.

    The gateway's own impression is a page under its request id; a client's with a `request_id` says what was seen of
    that page, and one without is a page of the site's own, under its event id.
    """
    if event.is_impression:
        return Fact(event.session_id, event.user_id, event.ts, _shown(event))
    kind = KINDS.get(event.code)
    if kind is None or event.item_id is None:
        return None
    pays = kind in (PURCHASE, RETURN)
    outcome = Outcome(
        event.event_id,
        event.ts,
        kind,
        key_bytes([event.item_id]),
        event.request_id,
        _money(event.value) if pays else None,
        (event.currency or NO_CURRENCY) if pays else "",
        event.quantity or 1,
        event.order_id if pays else None,
    )
    return Fact(event.session_id, event.user_id, event.ts, outcome)


def key_bytes(item_ids: Sequence[str]) -> bytes:
    """Return the items' keys, 8 bytes each, little-endian."""
    return b"".join(item_key(item_id).to_bytes(KEY_BYTES, "little") for item_id in item_ids)


def keys_in(packed: bytes) -> list[bytes]:
    """Return the keys that `key_bytes` packed."""
    return [packed[at : at + KEY_BYTES] for at in range(0, len(packed), KEY_BYTES)]


def _shown(event: PlainEvent) -> Page | Seen:
    items, context = key_bytes(event.items or ()), event.context or {}
    request_id = event.request_id
    if request_id is not None and event.event_id == _OWN + request_id:
        count = len(items) // KEY_BYTES
        margins, between, teams = _margins(context.get("margins"), count), *_teams(context, count)
        propensity = _propensity(context.get("propensity"))
        return Page(request_id, event.ts, event.user_id, _dims(context), items, margins, propensity, between, teams)
    if request_id is not None:
        return Seen(request_id, items)
    return Page(event.event_id, event.ts, event.user_id, Dims("no", scenario=_text(context.get("placement"))), items)


def _dims(context: Mapping[str, Any]) -> Dims:
    """Return what a page's figures are told apart by. Devices and regions are of bounded number, whoever sends them."""
    returning, region = context.get("returning"), _text(context.get("region")).strip().upper()
    return Dims(
        "yes",
        _text(context.get("scenario")) or _text(context.get("placement")),
        _text(context.get("version")),
        _text(context.get("experiment")),
        _text(context.get("variant")),
        _text(context.get("model")),
        _text(context.get("rung")),
        YES_NO[returning] if isinstance(returning, bool) else "",
        device_of(context.get("device")),
        region if _is_region(region) or not region else OTHER,
    )


def device_of(said: object) -> str:
    """Return a device as figures name it: one of a few, OTHER, or "" where nothing is said."""
    device = _text(said).strip().lower()
    return device if device in _DEVICES or not device else OTHER


def _propensity(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if 0 < found <= 1 else None


def _teams(context: Mapping[str, Any], count: int) -> tuple[tuple[str, str] | None, bytes]:
    """Return the variants of an interleaved page and whose each item is; None and nothing for another page."""
    match context.get("between"), context.get("teams"):
        case [str(first), str(second)], [*teams] if len(teams) == count and all(team in (0, 1) for team in teams):
            return (_text(first), _text(second)), bytes(map(int, teams))
    return None, b""


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and len(value) <= _LONGEST else ""


def _margins(found: object, count: int) -> tuple[int | None, ...] | None:
    """Return margins in ten-thousandths of the price; None unless they stand beside the items."""
    if not isinstance(found, list) or len(found) != count:
        return None
    return tuple(round(one * SCALE) if isinstance(one, int | float) and -1 <= one <= 1 else None for one in found)


def _money(value: float | None) -> int | None:
    if value is None or not 0 <= value <= MOST_VALUE:
        return None
    return round(value * SCALE)
