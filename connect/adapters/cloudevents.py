"""CloudEvents 1.0: structured, a batch, or binary (attributes in headers), with a shop's own events as data.

The specification says what an envelope holds, not what a shop calls its events: `WORDS` are the names that are known.
Sources: the specification, its JSON format and its HTTP binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from connect.adapters.consent import part_of
from connect.adapters.fields import (
    Place,
    Problem,
    context_of,
    first_id,
    happened_ms,
    iso_ms,
    json_in,
    list_in,
    object_in,
    page_of,
    rating_of,
    text_of,
)
from connect.adapters.mapped import IMPRESSION, Adapter, Document, Draft, Line, unknown
from contracts.events import BUILT_IN, shown

VENDOR: Final = "cloudevents"
WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("view", "viewed", "product_view", "view_item"), "view"),
    **dict.fromkeys(("cart", "add_to_cart", "added_to_cart", "cart_add", "cart_added", "cart_item_added"), "cart"),
    **dict.fromkeys(("purchase", "purchased", "bought", "order_completed", "order_placed"), "purchase"),
    **dict.fromkeys(("like", "liked", "wishlist_added", "added_to_wishlist", "favourited"), "like"),
    **dict.fromkeys(("return", "returned", "refund", "refunded"), "return"),
    **dict.fromkeys(("hide", "hidden"), "hide"),
    **dict.fromkeys(("dislike", "disliked"), "dislike"),
    **dict.fromkeys(("unhide", "unhidden"), "unhide"),
    **dict.fromkeys(("rating", "rated"), "rating"),
    **dict.fromkeys(("impression", "shown", "list_viewed"), IMPRESSION),
}
"""How a type may end, the longest that fits: `com.example.cart.item_added.v2` ends with `cart_item_added`."""
IGNORED: Final = frozenset(("page_view", "page_viewed", "session_started", "session_ended"))
_SPLIT: Final = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_VERSION: Final = re.compile(r"v?\d+")
_ITEM: Final = ("item_id", "itemId", "product_id", "productId", "sku", "id")
_LISTS: Final = ("items", "products", "lines", "line_items")
_BINARY: Final = "ce-"


def opened(payload: Any) -> Iterator[tuple[Place, Any]]:
    """Yield events: those of a batch, or one alone."""
    if isinstance(payload, list):
        for index, event in enumerate(payload):
            yield (index,), event
    else:
        yield (), payload


def from_headers(headers: Mapping[str, str], data: Any) -> Document | None:
    """Return the event whose attributes stand in headers (binary mode), None where they name none.

    Values are percent-decoded, as the binding says. `data` is the decoded body.
    """
    found: Document = {}
    for name, value in headers.items():
        if name.lower().startswith(_BINARY):
            found[name.lower().removeprefix(_BINARY)] = unquote(value)
    return {**found, "data": data} if found else None


def events_of(event: Document, place: Place, received_ms: int | None, notes: list[str]) -> list[Document] | None:
    """Return our events. Raises Problem."""
    _expect_attributes(event)
    fields = _data_of(event)
    own = text_of(fields.get("type"))
    type_ = own if own in BUILT_IN else type_of(name_of(event))
    if type_ is None:
        return None
    session = first_id(
        *(fields.get(name) for name in ("session_id", "sessionId")),
        *(event.get(name) for name in ("sessionid", "partitionkey")),
        *(fields.get(name) for name in ("user_id", "userId", "customer_id")),
    )
    if session is None:
        raise Problem("no_session", (), "expected data.session_id, or the attribute sessionid or partitionkey")
    rating = rating_of(fields.get("value")) if type_ == "rating" else None
    if type_ == "rating" and rating is None:
        value = shown(fields.get("value"), 40)
        raise Problem("invalid", ("data", "value"), f"expected a rating from 1 to 5, got {value}")
    order_id = first_id(*(fields.get(name) for name in ("order_id", "orderId", "transaction_id")))
    return Draft(
        VENDOR,
        type_,
        (event["source"], event["id"]),
        session,
        happened_ms(iso_ms(event.get("time"), ("time",)), None, received_ms),
        user_id=first_id(*(fields.get(name) for name in ("user_id", "userId", "customer_id")), event.get("userid")),
        order_id=order_id,
        currency=fields.get("currency"),
        request_id=first_id(fields.get("request_id"), fields.get("requestId")),
        value=rating,
        context=_context(fields),
    ).events(_lines(event, fields), notes)


def name_of(event: Mapping[str, Any]) -> str:
    name = event.get("type")
    return name if isinstance(name, str) else ""


def type_of(name: str) -> str | None:
    """Return our type of a CloudEvents type, None for one that says nothing of an item. Raises Problem."""
    words = [word.lower() for word in _SPLIT.split(name[:256]) if word]
    while words and _VERSION.fullmatch(words[-1]):
        words.pop()
    for count in (3, 2, 1):
        ending = "_".join(words[-count:])
        if ending in IGNORED:
            return None
        if ending in WORDS:
            return WORDS[ending]
    raise unknown(name)


def _expect_attributes(event: Mapping[str, Any]) -> None:
    if event.get("specversion") != "1.0":
        raise Problem("invalid", ("specversion",), f"expected '1.0', got {shown(event.get('specversion'), 40)}")
    for name in ("id", "source", "type"):
        value = event.get(name)
        if not isinstance(value, str) or not value:
            raise Problem("invalid", (name,), f"expected a text that is not empty, got {shown(value, 40)}")


def _data_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data, which is to be an object, as JSON or as base64 of JSON. Raises Problem."""
    kind = event.get("datacontenttype")
    plain = text_of(kind).partition(";")[0].strip().lower() if kind else "application/json"
    if plain not in ("application/json", "text/json") and not plain.endswith("+json"):
        raise Problem("invalid", ("datacontenttype",), f"expected JSON, got {shown(kind, 60)}")
    if "data_base64" in event:
        found = json_in(event["data_base64"], ("data_base64",), is_base64=True)
    else:
        found = event.get("data", {})
    if not isinstance(found, dict):
        raise Problem("invalid", ("data",), f"expected an object, got {shown(found, 40)}")
    return found


def _lines(event: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Line]:
    """Return the items: a list of them, else the item that the data names, else the subject."""
    for name in _LISTS:
        if fields.get(name):
            return [_line(one, ("data", name, at)) for at, one in enumerate(list_in(fields, name))]
    item = first_id(*(fields.get(name) for name in _ITEM[:-1]), place=("data", "item_id"))
    price = fields.get("price")
    return [Line(item or event.get("subject"), ("data",), price, fields.get("quantity"))]


def _line(one: Any, place: Place) -> Line:
    if not isinstance(one, dict):
        return Line(one, place)
    item = first_id(*(one.get(name) for name in _ITEM), place=place)
    return Line(item, place, one.get("price"), one.get("quantity"), one.get("currency"))


def _context(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data's own context as far as it is texts and numbers, and the page."""
    own = {str(name): value for name, value in list(object_in(fields, "context").items())[:20]}
    page = page_of(fields.get("page") or fields.get("url"))
    return context_of(**own) | context_of(page=page, referrer=page_of(fields.get("referrer")))


def consent_of(event: Any) -> bool | None:
    said = part_of(event, "data", "consent")
    return said if isinstance(said, bool) else None


ADAPTER: Final = Adapter(VENDOR, opened, name_of, events_of, consent_of)
