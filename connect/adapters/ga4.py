"""Google Analytics 4: payloads of the Measurement Protocol, and rows of the BigQuery export as JSON lines.

Sources: the Measurement Protocol's reference and list of recommended events, and the schema of the BigQuery export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from connect.adapters.consent import google, google_state, part_of
from connect.adapters.fields import (
    MINUTE_MS,
    Place,
    Problem,
    context_of,
    epoch_ms,
    first_id,
    happened_ms,
    hashed,
    list_in,
    object_in,
    optional_id,
    page_of,
    word,
)
from connect.adapters.mapped import Adapter, Document, Draft, Line, unknown
from contracts.events import shown

VENDOR: Final = "ga4"
TYPES: Final[Mapping[str, str]] = {
    "view_item": "view",
    "add_to_cart": "cart",
    "add_to_wishlist": "like",
    "purchase": "purchase",
    "refund": "return",
    "view_item_list": "impression",
}
IGNORED: Final = frozenset(
    (
        *("page_view", "screen_view", "session_start", "first_visit", "first_open", "user_engagement"),
        *("scroll", "click"),
        *("file_download", "form_start", "form_submit", "video_start", "video_progress", "video_complete"),
        *("view_search_results", "search", "select_item", "select_content", "select_promotion", "view_promotion"),
        *("view_cart", "remove_from_cart", "begin_checkout", "add_shipping_info", "add_payment_info"),
        *("login", "sign_up", "share", "generate_lead", "join_group", "campaign_details", "exception"),
        *("earn_virtual_currency", "spend_virtual_currency", "level_start", "level_end", "level_up", "post_score"),
        *("tutorial_begin", "tutorial_complete", "unlock_achievement", "app_remove", "app_update", "os_update"),
    )
)
"""Documented events that say nothing of an item that is not said by another one as well."""
_EXPORTED: Final = ("event_bundle_sequence_id", "batch_page_id", "batch_ordering_id", "batch_event_index")
"""What tells rows of the export apart that are of one visitor, one moment and one name."""
_VALUES: Final = ("string_value", "int_value", "double_value", "float_value")


def opened(payload: Any) -> Iterator[tuple[Place, Any]]:
    """Yield events, each with its visitor, its device and a time. Raises Problem."""
    if not isinstance(payload, dict):
        raise Problem("not_an_object", (), f"expected an object with `events`, got {shown(payload, 40)}")
    if "event_name" in payload:
        yield (), _exported(payload)
        return
    if "events" not in payload:
        raise Problem("invalid", (), "expected `events`, or `event_name` of a row of the export, got neither")
    shared = {
        "client": payload.get("client_id") or payload.get("app_instance_id"),
        "user_id": payload.get("user_id"),
        "timestamp_micros": payload.get("timestamp_micros"),
        "device": object_in(payload, "device"),
        "country": object_in(payload, "user_location").get("country_id"),
        "consent": payload.get("consent"),
    }
    for index, event in enumerate(list_in(payload, "events")):
        yield ("events", index), {**shared, **event, "key": index} if isinstance(event, dict) else event


def events_of(event: Document, place: Place, received_ms: int | None, notes: list[str]) -> list[Document] | None:
    """Return our events. Raises Problem."""
    name = name_of(event)
    if name in IGNORED:
        return None
    if name not in TYPES:
        raise unknown(name)
    params = object_in(event, "params")
    client = first_id(event.get("client"), event.get("user_id"))
    if client is None:
        raise Problem("no_session", (), "expected client_id, app_instance_id or user_id, got none")
    visit = optional_id(params.get("session_id") or params.get("ga_session_id"), ("params", "session_id"))
    made_ms = epoch_ms(event.get("timestamp_micros"), ("timestamp_micros",), unit="microseconds")
    ts = happened_ms(made_ms, None, received_ms)
    order_id = optional_id(params.get("transaction_id"), ("params", "transaction_id"))
    under = ("items",) if "row" in event else ("params", "items")
    lines = [_line(item, (*under, at)) for at, item in enumerate(list_in(params, "items"))]
    return Draft(
        VENDOR,
        TYPES[name],
        _key(event, name, client, visit, made_ms, order_id, ts),
        f"{client}.{visit}" if visit else client,
        ts,
        user_id=optional_id(event.get("user_id"), ("user_id",)),
        order_id=order_id if name in ("purchase", "refund") else None,
        currency=params.get("currency"),
        request_id=optional_id(params.get("request_id"), ("params", "request_id")),
        context=_context(event, params),
    ).events(lines, notes)


def name_of(event: Mapping[str, Any]) -> str:
    name = event.get("name")
    return name if isinstance(name, str) else ""


def _key(
    event: Document, name: str, client: str, visit: str | None, made_ms: int | None, order_id: str | None, ts: int
) -> tuple[object, ...]:
    """Return what an event is known by: an order by its number; others by the site's own `event_id`, or by who, what
    and when. Without a time of its own an event counts once in a minute.
    """
    if name == "purchase" and order_id is not None:
        return ("order", order_id)
    own = optional_id(object_in(event, "params").get("event_id"), ("params", "event_id"))
    if own is not None:
        return (name, own)
    when = ts // MINUTE_MS if made_ms is None else word(event.get("timestamp_micros"))
    return (hashed(name, client, visit, when, event.get("key")),)


def _line(item: Any, place: Place) -> Line:
    if not isinstance(item, dict):
        raise Problem("no_item", place, f"expected an item with `item_id`, got {shown(item, 40)}")
    return Line(item.get("item_id"), place, item.get("price"), item.get("quantity"), item.get("currency"))


def _context(event: Document, params: Mapping[str, Any]) -> dict[str, Any]:
    device = object_in(event, "device")
    return context_of(
        device=device.get("category"),
        os=device.get("operating_system"),
        language=device.get("language") or params.get("language"),
        country=event.get("country"),
        page=page_of(params.get("page_location")),
        page_title=params.get("page_title"),
        referrer=page_of(params.get("page_referrer")),
        list=params.get("item_list_name") or params.get("item_list_id"),
    )


def _exported(row: Document) -> Document:
    """Return a row of the export as an event of the protocol."""
    params: Document = {}
    for pair in list_in(row, "event_params"):
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            value = object_in(pair, "value")
            params[pair["key"]] = next((value[kind] for kind in _VALUES if value.get(kind) is not None), None)
    params["items"] = list_in(row, "items")
    params["transaction_id"] = object_in(row, "ecommerce").get("transaction_id") or params.get("transaction_id")
    return {
        "row": True,
        "name": row.get("event_name"),
        "client": row.get("user_pseudo_id"),
        "user_id": row.get("user_id"),
        "timestamp_micros": row.get("event_timestamp"),
        "device": object_in(row, "device"),
        "country": object_in(row, "geo").get("country"),
        "consent": row.get("privacy_info"),
        "params": params,
        "key": ":".join(word(row.get(name)) for name in _EXPORTED),
    }


def consent_of(event: Any) -> bool | None:
    """Return what consent mode says: `consent` of the payload or the event, `privacy_info` of a row of the export, and
    `consent` and `gcs` of the parameters, as tag managers send them along.
    """
    params = part_of(event, "params")
    states = google_state(part_of(event, "gcs")), google_state(part_of(params, "gcs"))
    return google(part_of(event, "consent"), part_of(event, "privacy_info"), part_of(params, "consent"), *states)


ADAPTER: Final = Adapter(VENDOR, opened, name_of, events_of, consent_of)
