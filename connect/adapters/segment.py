"""Segment: calls of its HTTP tracking API, one or a batch, with the events of its ecommerce specification (2, and 1).

Sources: the specification of common fields and of ecommerce events, and the reference of the HTTP API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from connect.adapters.consent import part_of, segment
from connect.adapters.fields import (
    MINUTE_MS,
    Place,
    Problem,
    context_of,
    first_id,
    happened_ms,
    hashed,
    iso_ms,
    list_in,
    object_in,
    optional_id,
    page_of,
    rating_of,
    text_of,
)
from connect.adapters.mapped import MAY_BE_EMPTY, Adapter, Document, Draft, Line, unknown
from contracts.events import shown

VENDOR: Final = "segment"
TYPES: Final[Mapping[str, str]] = {
    "product viewed": "view",
    "viewed product": "view",
    "product added": "cart",
    "added product": "cart",
    "wishlist product added to cart": "cart",
    "product added to wishlist": "like",
    "order completed": "purchase",
    "completed order": "purchase",
    "order refunded": "return",
    "product list viewed": "impression",
    "product reviewed": "rating",
}
IGNORED: Final = frozenset(
    (
        *("products searched", "product list filtered", "promotion viewed", "promotion clicked", "product clicked"),
        *("product removed", "removed product", "viewed product category", "cart viewed", "checkout started"),
        *("checkout step viewed", "checkout step completed", "payment info entered", "order updated"),
        *("order cancelled", "coupon entered", "coupon applied", "coupon denied", "coupon removed"),
        *("product removed from wishlist", "product shared", "cart shared"),
        *("application installed", "application opened", "application updated", "application backgrounded"),
        *("application crashed", "application uninstalled", "deep link opened", "install attributed"),
        *("push notification received", "push notification tapped", "push notification bounced", "signed up"),
        *("signed in", "signed out"),
    )
)
"""Documented events that say nothing of an item, or take one back."""
_DEVICES: Final = {"ios": "mobile", "android": "mobile"}
CALLS: Final = frozenset(("page", "screen", "identify", "group", "alias"))


def opened(payload: Any) -> Iterator[tuple[Place, Any]]:
    """Yield messages, each with the batch's time of sending and context where it has none. Raises Problem."""
    if not isinstance(payload, dict):
        raise Problem("not_an_object", (), f"expected a message, or an object with `batch`, got {shown(payload, 40)}")
    if "batch" not in payload:
        yield (), payload
        return
    shared = {name: payload[name] for name in ("sentAt", "context") if name in payload}
    for index, message in enumerate(list_in(payload, "batch")):
        yield ("batch", index), {**shared, **message} if isinstance(message, dict) else message


def events_of(message: Document, place: Place, received_ms: int | None, notes: list[str]) -> list[Document] | None:
    """Return our events. Raises Problem."""
    name = _plain(name_of(message))
    if name in IGNORED or name in CALLS:
        return None
    type_ = TYPES.get(name)
    if type_ is None:
        raise unknown(name_of(message))
    properties = object_in(message, "properties")
    rating = rating_of(properties.get("rating")) if type_ == "rating" else None
    if (type_ == "rating" and rating is None) or (type_ in MAY_BE_EMPTY and not properties.get("products")):
        return None
    context = object_in(message, "context")
    session = first_id(
        context.get("sessionId"),
        properties.get("session_id"),
        message.get("anonymousId"),
        message.get("userId"),
        place=("anonymousId",),
    )
    if session is None:
        raise Problem("no_session", (), "expected anonymousId or userId, got neither")
    user_id = optional_id(message.get("userId"), ("userId",))
    ts, made_ms = _times(message, received_ms)
    order_id = optional_id(properties.get("order_id"), ("properties", "order_id"))
    return Draft(
        VENDOR,
        type_,
        _key(message, name, order_id, hashed(name, session, user_id, ts // MINUTE_MS if made_ms is None else made_ms)),
        session,
        ts,
        user_id=user_id,
        order_id=order_id if type_ in ("purchase", "return") else None,
        currency=properties.get("currency"),
        request_id=optional_id(properties.get("request_id"), ("properties", "request_id")),
        value=rating,
        context=_context(context, properties),
    ).events(_lines(properties), notes)


def name_of(message: Mapping[str, Any]) -> str:
    """Return the event of a track call, else the kind of call."""
    kind, event = message.get("type"), message.get("event")
    if isinstance(event, str) and kind in (None, "track"):
        return event
    return kind if isinstance(kind, str) else ""


def _plain(name: str) -> str:
    """Return a name as the specification writes it: `product_viewed` and `Product Viewed` are one event."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def _times(message: Mapping[str, Any], received_ms: int | None) -> tuple[int, int | None]:
    """Return when it happened by our clock, and by the sender's.

    A message with `receivedAt` went through Segment, which has corrected `timestamp`. Others are corrected here.
    """
    said = iso_ms(message.get("timestamp"), ("timestamp",))
    if said is not None and message.get("receivedAt"):
        return said, said
    original = iso_ms(message.get("originalTimestamp"), ("originalTimestamp",))
    made_ms = said if original is None else original
    return happened_ms(made_ms, iso_ms(message.get("sentAt"), ("sentAt",)), received_ms), made_ms


def _key(message: Mapping[str, Any], name: str, order_id: str | None, otherwise: str) -> tuple[object, ...]:
    """Return what a message is known by: an order by its number, others by `messageId`, else by who, what and when."""
    if order_id is not None and TYPES[name] == "purchase":
        return ("order", order_id)
    own = optional_id(message.get("messageId"), ("messageId",))
    return (own,) if own is not None else (otherwise,)


def _lines(properties: Mapping[str, Any]) -> list[Line]:
    """Return the items of a message: its `products`, else the product that it is about."""
    products = list_in(properties, "products")
    if not products:
        return [_line(properties, ("properties",))]
    return [_line(product, ("properties", "products", at)) for at, product in enumerate(products)]


def _line(product: Any, place: Place) -> Line:
    if not isinstance(product, dict):
        raise Problem("no_item", place, f"expected a product with `product_id` or `sku`, got {shown(product, 40)}")
    item = first_id(product.get("product_id"), product.get("sku"), place=(*place, "product_id"))
    return Line(item, place, product.get("price"), product.get("quantity"), product.get("currency"))


def _context(context: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    page, device = object_in(context, "page"), object_in(context, "device")
    return context_of(
        device=_DEVICES.get(text_of(device.get("type")), device.get("type")),
        os=object_in(context, "os").get("name"),
        language=context.get("locale"),
        country=object_in(context, "location").get("country"),
        page=page_of(page.get("url") or properties.get("url")),
        page_title=page.get("title"),
        referrer=page_of(page.get("referrer")),
        list=properties.get("list_id"),
    )


def consent_of(message: Any) -> bool | None:
    return segment(part_of(message, "context", "consent"))


ADAPTER: Final = Adapter(VENDOR, opened, name_of, events_of, consent_of)
