"""Matomo: requests of its tracking HTTP API, one (a query or a form) or several (`requests`), with ecommerce fields.

Source: the reference of the tracking HTTP API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

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
    optional_id,
    page_of,
    plausible_ms,
    word,
)
from connect.adapters.mapped import Adapter, Document, Draft, Line, unknown
from contracts.events import shown

VENDOR: Final = "matomo"
MOST_FIELDS: Final = 200
"""Parameters of one request."""
MOST_QUERY: Final = 65_536
"""Characters of one request that is written as a query."""
KNOWN: Final = ("url", "action_name", "e_c", "c_n", "search", "download", "link", "ping", "idgoal", "ca", "gt_ms")
"""What the other requests have one of: page views, events, searches, downloads, links, goals, pings."""


def opened(payload: Any) -> Iterator[tuple[Place, Any]]:
    """Yield requests as fields. Raises Problem."""
    if isinstance(payload, dict) and "requests" in payload:
        for index, request in enumerate(list_in(payload, "requests")):
            yield ("requests", index), _Query(request) if isinstance(request, str) else request
    elif isinstance(payload, dict):
        yield (), payload
    else:
        raise Problem("not_an_object", (), f"expected fields, or an object with `requests`, got {shown(payload, 40)}")


class _Query(dict[str, Any]):
    """A request that is still a text: it is taken apart where a refusal is its own, and once."""

    def __init__(self, text: str) -> None:
        super().__init__(query=text)
        self._fields: Mapping[str, Any] | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields. Raises Problem."""
        if self._fields is None:
            self._fields = fields_of(self["query"])
        return self._fields


def fields_of(query: str) -> dict[str, str]:
    """Return the fields of a query, with or without what stands before its question mark. Raises Problem."""
    if len(query) > MOST_QUERY:
        raise Problem("too_large", (), f"expected at most {MOST_QUERY} characters, got {len(query)}")
    text = query.partition("?")[2] if "?" in query else query
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except UnicodeDecodeError:
        raise Problem("not_utf8", (), "expected UTF-8 behind its percent signs, got other bytes") from None
    except ValueError:
        raise Problem("too_large", (), f"expected at most {MOST_FIELDS} fields, got more") from None


def events_of(request: Document, place: Place, received_ms: int | None, notes: list[str]) -> list[Document] | None:
    """Return our events. Raises Problem."""
    fields = request.fields if isinstance(request, _Query) else request
    kind = _kind(fields)
    if kind == "other":
        return None
    if kind == "":
        raise unknown(", ".join(list(fields)[:5]))
    session = first_id(fields.get("_id"), fields.get("cid"), fields.get("uid"))
    if session is None:
        raise Problem("no_session", (), "expected _id, cid or uid, got none")
    made_ms = _time_of(fields)
    ts = happened_ms(made_ms, None, received_ms)
    order_id = optional_id(fields.get("ec_id"), ("ec_id",)) if kind == "purchase" else None
    return Draft(
        VENDOR,
        kind,
        _key(fields, kind, session, order_id, ts // MINUTE_MS if made_ms is None else made_ms),
        session,
        ts,
        user_id=optional_id(fields.get("uid"), ("uid",)),
        order_id=order_id,
        context=context_of(
            language=fields.get("lang"),
            country=fields.get("country"),
            page=page_of(fields.get("url")),
            page_title=fields.get("action_name"),
            referrer=page_of(fields.get("urlref")),
        ),
    ).events(_lines(fields, kind), notes)


def name_of(request: Mapping[str, Any]) -> str:
    """Return what kind of request it is."""
    try:
        fields = request.fields if isinstance(request, _Query) else request
    except Problem:
        return "request"
    kind = _kind(fields)
    named = {"purchase": "ecommerce order", "cart": "ecommerce cart update", "view": "ecommerce product view"}
    return named.get(kind, "request")


def _kind(fields: Mapping[str, Any]) -> str:
    """Return our type, `other` for a request that is about no item, empty for one that nothing is known of."""
    if word(fields.get("idgoal")) == "0":
        return "purchase" if optional_id(fields.get("ec_id"), ("ec_id",)) else "cart"
    if fields.get("_pks"):
        return "view"
    return "other" if any(name in fields for name in KNOWN) else ""


def _key(fields: Mapping[str, Any], kind: str, session: str, order_id: str | None, when: int) -> tuple[object, ...]:
    """Return what a request is known by: an order by its number; a view by its visitor, page view, random value and
    time. A cart comes whole with each change, so that what is in it counts once a session.
    """
    if order_id is not None:
        return ("order", word(fields.get("idsite")), order_id)
    if kind == "cart":
        return ("cart", session)
    site, page_view, rand = (word(fields.get(name)) for name in ("idsite", "pv_id", "rand"))
    return (hashed(kind, site, session, page_view, rand, "" if rand else when),)


def _lines(fields: Mapping[str, Any], kind: str) -> list[Line]:
    if kind == "view":
        return [Line(fields.get("_pks"), (), fields.get("_pkp"))]
    items = fields.get("ec_items")
    found = json_in(items, ("ec_items",)) if isinstance(items, str) and items else items or []
    if not isinstance(found, list):
        raise Problem("invalid", ("ec_items",), f"expected a list of items, got {shown(found, 40)}")
    return [_line(one, ("ec_items", at)) for at, one in enumerate(found)]


def _line(one: Any, place: Place) -> Line:
    """Return an item as Matomo lists it: sku, name, category, price, quantity."""
    if not isinstance(one, list) or not one:
        raise Problem("no_item", place, f"expected [sku, name, category, price, quantity], got {shown(one, 40)}")
    return Line(one[0], place, one[3] if len(one) > 3 else None, one[4] if len(one) > 4 else None)


def _time_of(fields: Mapping[str, Any]) -> int | None:
    """Return `cdt`, epoch seconds or `2026-11-29 12:00:00` in UTC, as epoch milliseconds. Raises Problem."""
    said = fields.get("cdt")
    if isinstance(said, str) and "-" in said[1:] and len(said) <= 40:
        try:
            when = datetime.fromisoformat(said.strip())
            return plausible_ms(round(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000), ("cdt",))
        except (ValueError, OverflowError):
            raise Problem("invalid_time", ("cdt",), f"expected a time in UTC, got {shown(said, 40)}") from None
    return epoch_ms(said, ("cdt",), unit="seconds")


ADAPTER: Final = Adapter(VENDOR, opened, name_of, events_of)
