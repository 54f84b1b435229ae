"""The sample's events and items as documents: what a log, a table or a CSV holds of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from contracts.events import SCHEMA_VERSION
from contracts.items import Item
from replay.sample.chunk import CART, KINDS, NONE, PURCHASE, RETURN, Chunk
from replay.sample.crowd import AGENTS
from replay.sample.stock import SIZES, Stocked
from replay.synthetic.words import DEVICES, REGIONS

CURRENCY: Final = "EUR"
_PAID: Final = (PURCHASE, RETURN)
_DRESSED: Final = (CART, PURCHASE, RETURN)
COLUMNS: Final = (
    "event_id", "type", "session_id", "user_id", "item_id", "ts", "device", "region", "user_agent", "size", "value",
    "quantity", "order_id", "currency",
)  # fmt: skip
"""Of a flat row: the fields of the event, and what its context says."""


class EventRows:
    """Gives each event its ids, counted through all chunks. `seed` begins them: two samples do not meet. Mutable."""

    def __init__(self, stock: Stocked, seed: int) -> None:
        self._ids = [item_id for item_id, _ in stock.items]
        self._sizes = [SIZES[kind] for kind in stock.sizes.tolist()]
        self._seed = seed
        self._events = 0

    def rows(self, chunk: Chunk) -> Iterator[tuple[Any, ...]]:
        """Yield flat rows, in the order of COLUMNS; None for what an event does not say."""
        columns = [
            getattr(chunk, name).tolist()
            for name in (
                "session", "user", "item", "kind", "ts_ms", "order", "quantity", "value", "size", "device", "region",
                "agent",
            )
        ]  # fmt: skip
        seed = self._seed
        every = enumerate(zip(*columns, strict=True), start=self._events)
        self._events += len(chunk)
        for number, (session, user, item, kind, ts, order, pieces, value, size, device, region, agent) in every:
            paid = kind in _PAID
            yield (
                f"e{seed}-{number}",
                KINDS[kind],
                session_id(seed, session),
                None if user == NONE else f"u{seed}-{user}",
                self._ids[item],
                ts,
                DEVICES[device],
                REGIONS[region],
                AGENTS[agent],
                self._sizes[item][size] if size != NONE and kind in _DRESSED else None,
                value if paid else None,
                pieces if paid else None,
                f"o{seed}-{order}" if paid else None,
                CURRENCY if paid else None,
            )


def session_id(seed: int, session: int) -> str:
    return f"s{seed}-{session}"


def document(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a flat row as the event that a site sends."""
    event_id, kind, session, user, item, ts, device, region, agent, size, value, pieces, order, currency = row
    context = {"device": device, "region": region, "user_agent": agent}
    if size is not None:
        context["size"] = size
    found = {
        "v": SCHEMA_VERSION,
        "event_id": event_id,
        "type": kind,
        "session_id": session,
        "item_id": item,
        "ts": ts,
        "context": context,
    }
    if user is not None:
        found["user_id"] = user
    if order is not None:
        found |= {"value": value, "quantity": pieces, "order_id": order, "currency": currency}
    return found


ITEM_COLUMNS: Final = (
    "item_id", "title", "description", "category", "brand", "supplier", "price", "margin", "stock", "regions",
    "min_age", "image_url", "attributes.colour", "attributes.material", "attributes.sizes[]",
)  # fmt: skip
"""As `nextclick items load` reads a table."""


def item_row(item_id: str, item: Item) -> tuple[Any, ...]:
    """Return an item as a flat row, in the order of ITEM_COLUMNS: lists as lists, None for what it does not say."""
    plain = [getattr(item, name) for name in ITEM_COLUMNS[1:12]]
    attributes = item.attributes or {}
    return (item_id, *plain, attributes.get("colour"), attributes.get("material"), attributes.get("sizes"))
