"""Snowplow: payloads of its tracker protocol, with the ecommerce action and its entities, and the older transactions.

Sources: the reference of the tracker protocol, and the published schemas of ecommerce events and of client sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from connect.adapters.fields import (
    MINUTE_MS,
    Place,
    Problem,
    context_of,
    epoch_ms,
    first_id,
    happened_ms,
    hashed,
    json_in,
    list_in,
    object_in,
    optional_id,
    page_of,
    text_of,
)
from connect.adapters.mapped import Adapter, Document, Draft, Line, unknown
from contracts.events import shown

VENDOR: Final = "snowplow"
ACTIONS: Final[Mapping[str, str]] = {
    "product_view": "view",
    "add_to_cart": "cart",
    "transaction": "purchase",
    "refund": "return",
    "list_view": "impression",
}
IGNORED_ACTIONS: Final = frozenset(
    ("remove_from_cart", "list_click", "promo_click", "promo_view", "checkout_step", "trns_error")
)
IGNORED: Final = frozenset(("pv", "pp", "tr"))
"""Page views, pings, and the head of a transaction, whose items come as events of their own."""
OWN: Final = ("com.snowplowanalytics.", "com.google.", "org.w3", "io.snowplow.")
"""Vendors of schemas that trackers send of their own accord: of those that are not named here none is about an item."""
_ECOMMERCE: Final = "com.snowplowanalytics.snowplow.ecommerce/"
_ACTION: Final = f"{_ECOMMERCE}snowplow_ecommerce_action"
_OLD_CART: Final = "com.snowplowanalytics.snowplow/add_to_cart"
_SESSION: Final = "com.snowplowanalytics.snowplow/client_session"
_SHORT: Final = 1024
_DEVICES: Final = {"mob": "mobile", "pc": "desktop", "web": None}


def opened(payload: Any) -> Iterator[tuple[Place, Any]]:
    """Yield events: those of a `payload_data`, or one alone. Raises Problem."""
    if isinstance(payload, dict) and "e" in payload:
        yield (), payload
        return
    if not isinstance(payload, dict) or "/payload_data/" not in text_of(payload.get("schema")):
        raise Problem("invalid", (), f"expected a self-describing payload_data, got {shown(payload, 60)}")
    for index, event in enumerate(list_in(payload, "data")):
        yield ("data", index), event


def events_of(event: Document, place: Place, received_ms: int | None, notes: list[str]) -> list[Document] | None:
    """Return our events. Raises Problem."""
    kind = text_of(event.get("e"))
    if kind in IGNORED:
        return None
    if kind == "ti":
        item = Line(event.get("ti_sk"), (), event.get("ti_pr"), event.get("ti_qu"), event.get("ti_cu"))
        return _draft(event, "purchase", received_ms, [], event.get("ti_id")).events([item], notes)
    if kind != "ue":
        raise unknown(name_of(event))
    name, fields = _described(event)
    entities = _entities(event)
    if name == _OLD_CART:
        item = Line(fields.get("sku"), (), fields.get("unitPrice"), fields.get("quantity"), fields.get("currency"))
        return _draft(event, "cart", received_ms, entities).events([item], notes)
    action = text_of(fields.get("type"))
    if name != _ACTION or action in IGNORED_ACTIONS:
        if name == _ACTION or name.startswith(OWN):
            return None
        raise unknown(name)
    if action not in ACTIONS:
        raise unknown(f"{name} {action}")
    order = next((of for kind, of in entities if kind in (f"{_ECOMMERCE}transaction", f"{_ECOMMERCE}refund")), {})
    lines = [
        Line(of.get("id"), (), of.get("price"), of.get("quantity"), of.get("currency"))
        for kind, of in entities
        if kind == f"{_ECOMMERCE}product"
    ]
    return _draft(event, ACTIONS[action], received_ms, entities, order.get("transaction_id")).events(lines, notes)


def name_of(event: Mapping[str, Any]) -> str:
    """Return what kind of event it is; of a self-describing one its schema and its action, where they can be read."""
    kind = event.get("e")
    if kind != "ue":
        return kind if isinstance(kind, str) else ""
    try:
        name, fields = _described(event)
    except Problem:
        return "ue"
    return f"{name.rpartition('/')[2]} {text_of(fields.get('type'))}" if name == _ACTION else name


def _draft(
    event: Mapping[str, Any],
    type_: str,
    received_ms: int | None,
    entities: list[tuple[str, Mapping[str, Any]]],
    order: object = None,
) -> Draft:
    visit = next((of for kind, of in entities if kind == _SESSION), {})
    session = first_id(event.get("sid"), visit.get("sessionId"), event.get("duid"), visit.get("userId"))
    session = session or optional_id(event.get("uid"), ("uid",))
    if session is None:
        raise Problem("no_session", (), "expected sid, duid, a client_session or uid, got none")
    made_ms = epoch_ms(event.get("dtm"), ("dtm",), unit="milliseconds")
    true_ms = epoch_ms(event.get("ttm"), ("ttm",), unit="milliseconds")
    sent_ms = epoch_ms(event.get("stm"), ("stm",), unit="milliseconds")
    ts = true_ms if true_ms is not None else happened_ms(made_ms, sent_ms, received_ms)
    order_id = optional_id(order)
    own = optional_id(event.get("eid"), ("eid",))
    key: tuple[object, ...] = (own,)
    if type_ == "purchase" and order_id is not None:
        key = ("order", order_id)
    elif own is None:
        key = (hashed(type_, session, made_ms if made_ms is not None else ts // MINUTE_MS),)
    context = context_of(
        device=_DEVICES.get(text_of(event.get("p")), event.get("p")),
        language=event.get("lang"),
        page=page_of(event.get("url")),
        page_title=event.get("page"),
        referrer=page_of(event.get("refr")),
    )
    user_id = optional_id(event.get("uid"), ("uid",))
    return Draft(VENDOR, type_, key, session, ts, user_id=user_id, order_id=order_id, context=context)


def _described(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the schema (vendor/name) and the data of a self-describing event. Raises Problem."""
    outer = _inner(event, "ue_pr", "ue_px")
    inner = outer.get("data")
    if not isinstance(inner, dict):
        raise Problem("invalid", ("ue_pr",), "expected `data` with a schema and data of its own, got none")
    return _schema_of(inner), object_in(inner, "data")


def _entities(event: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (schema, data) of what stands beside an event. Raises Problem."""
    if "co" not in event and "cx" not in event:
        return []
    found = list_in(_inner(event, "co", "cx"), "data")
    return [(_schema_of(one), object_in(one, "data")) for one in found if isinstance(one, dict)]


def _inner(event: Mapping[str, Any], plain: str, packed: str) -> Mapping[str, Any]:
    """Return the JSON object that a field holds as text, or another one as base64. Raises Problem."""
    name = plain if plain in event else packed
    text = event.get(name)
    read = _read_before if isinstance(text, str) and len(text) <= _SHORT else json_in
    found = read(text, (name,), is_base64=name == packed)
    if not isinstance(found, dict):
        raise Problem("invalid", (name,), f"expected an object with `schema` and `data`, got {shown(found, 40)}")
    return found


@lru_cache(maxsize=256)
def _read_before(text: str, place: Place, *, is_base64: bool) -> Any:
    """As `json_in`, remembering short texts, for readers that change nothing: an ecommerce action holds its type alone,
    so that it is the same text in every event.
    """
    return json_in(text, place, is_base64=is_base64)


def _schema_of(described: Mapping[str, Any]) -> str:
    """Return vendor and name of `iglu:vendor/name/jsonschema/1-0-0`, empty where there is none."""
    schema = described.get("schema")
    if not isinstance(schema, str):
        return ""
    return "/".join(schema.removeprefix("iglu:").split("/")[:2])


ADAPTER: Final = Adapter(VENDOR, opened, name_of, events_of)
