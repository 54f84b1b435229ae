"""Payloads of trackers, read as our events: what each vendor documents, with the events that are made of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connect.adapters import ADAPTERS, Mapped
from connect.adapters.cloudevents import from_headers, type_of
from connect.adapters.consent import google, google_state, segment
from connect.adapters.fields import LAST_MS, optional_id
from contracts.plain_events import PlainEvent, check_event
from tests.connect.payloads import FOLDER, NOON, ecommerce, payload

MINUTE = 60_000


def read(vendor: str, document: Any, received_ms: int | None = NOON + MINUTE) -> list[Mapped]:
    return list(ADAPTERS[vendor].read(document, received_ms))


def short(mapped: list[Mapped]) -> list[tuple[Any, ...]]:
    """Return the events: type, item, session, user, when (seconds from noon), quantity, value, currency, order."""
    return [
        (
            *(one["type"], one.get("item_id"), one["session_id"], one.get("user_id"), (one["ts"] - NOON) / 1000),
            *(one.get(name) for name in ("quantity", "value", "currency", "order_id")),
        )
        for part in mapped
        for one in part.events
    ]


def reasons(mapped: list[Mapped]) -> list[str | None]:
    return [one.refused.reason if one.refused else None for one in mapped]


def test_a_ga4_payload_gives_views_and_an_order_and_names_what_it_does_not_know() -> None:
    mapped = read("ga4", payload("ga4"))
    visit = ("1712.4411.1796126001", "anna", 0.0)
    assert short(mapped) == [
        ("view", "tent-2", *visit, 1, 129.9, "EUR", None),
        ("purchase", "tent-2", *visit, 1, 129.9, "EUR", "T-1001"),
        ("purchase", "4711", *visit, 2, 29.8, "EUR", "T-1001"),
    ]
    assert [one.is_ignored for one in mapped] == [False, True, False, False]
    assert str(mapped[3].refused) == (
        "unknown_event: ga4 newsletter_signup at /events/3: 'newsletter_signup' is not an event that the adapter knows"
    )
    assert mapped[0].events[0]["context"] == {
        **{"device": "mobile", "os": "Android", "language": "de", "country": "DE"},
        **{"page": "https://shop.example/p/tent-2", "page_title": "Two person tent"},
    }


def test_rows_of_the_ga4_export_are_read_as_the_protocol_is() -> None:
    rows = [orjson.loads(line) for line in (FOLDER / "ga4_export.jsonl").read_bytes().splitlines()]
    mapped = [one for row in rows for one in read("ga4", row, None)]
    visit = ("1712.4411.1796126001", None)
    assert short(mapped) == [
        ("view", "tent-2", *visit, 0.123, 1, 129.9, "EUR", None),
        ("purchase", "tent-2", *visit, 120.0, 1, 129.9, "EUR", "T-1001"),
    ]
    assert mapped[1].is_ignored


def test_a_segment_batch_is_corrected_by_the_clock_of_its_sender() -> None:
    mapped = read("segment", payload("segment"))  # sent at 15:00:10 by a clock that is three hours ahead
    assert short(mapped) == [
        ("view", "tent-2", "visitor-7", "anna", 50.0, None, 129.9, "EUR", None),
        ("purchase", "tent-2", "visitor-7", None, 59.0, 1, 1299.0, "USD", "O-55"),
        ("purchase", "peg-10", "visitor-7", None, 59.0, 4, 10.0, "USD", "O-55"),
    ]
    assert mapped[1].is_ignored
    assert (mapped[3].name, reasons(mapped)[3]) == ("Quiz Finished", "unknown_event")


def test_what_segment_has_corrected_is_not_corrected_again() -> None:
    message = {
        **{"type": "track", "event": "Product Viewed", "messageId": "m", "anonymousId": "a"},
        **{"timestamp": "2026-12-01T12:00:00Z", "receivedAt": "2026-12-01T12:00:02Z"},
        **{"originalTimestamp": "2026-12-01T15:00:00Z", "sentAt": "2026-12-01T15:00:02Z"},
        "properties": {"product_id": "tent-2"},
    }
    assert [one["ts"] for part in read("segment", message) for one in part.events] == [NOON]
    assert [one["ts"] for part in read("segment", message, None) for one in part.events] == [NOON]


def test_segments_names_are_known_however_they_are_written() -> None:
    for name in ("Product Viewed", "product_viewed", "PRODUCT VIEWED", "Viewed Product"):
        message = {"event": name, "anonymousId": "a", "properties": {"sku": "T2"}}
        assert [one[:2] for one in short(read("segment", message))] == [("view", "T2")]


def test_a_snowplow_transaction_is_its_items_and_its_head_is_ignored() -> None:
    mapped = read("snowplow", payload("snowplow_transaction"))
    assert short(mapped) == [("purchase", "peg-10", "visit-3", "anna", 59.0, 2, 25.0, "GBP", "O-7")]
    assert [one.is_ignored for one in mapped] == [True, True, False, False]
    assert (mapped[3].name, reasons(mapped)[3]) == ("se", "unknown_event")


@pytest.mark.parametrize(
    ("action", "order", "expected"),
    [
        ("product_view", None, [("view", "tent-2", 129.9), ("view", "peg-10", 2.0)]),
        ("add_to_cart", None, [("cart", "tent-2", 129.9), ("cart", "peg-10", 2.0)]),
        ("transaction", "O-1", [("purchase", "tent-2", 129.9), ("purchase", "peg-10", 2.0)]),
        ("list_view", None, [("impression", None, None)]),
        ("remove_from_cart", None, []),
    ],
)
def test_a_snowplow_ecommerce_action_takes_its_products_from_its_context(
    action: str, order: str | None, expected: list[tuple[Any, ...]]
) -> None:
    products = ({"id": "tent-2", "price": 129.9, "currency": "EUR"}, {"id": "peg-10", "price": 2, "currency": "EUR"})
    sent = {"dtm": str(NOON - 7_200_000), "stm": str(NOON - 7_190_000), "p": "mob"}
    document = ecommerce(action, *products, order={"transaction_id": order} if order else None, **sent)
    mapped = read("snowplow", document, NOON)
    assert [(one["type"], one.get("item_id"), one.get("value")) for part in mapped for one in part.events] == expected
    assert all(one["ts"] == NOON - 10_000 and one["context"] == {"device": "mobile"} for one in mapped[0].events)
    assert mapped[0].name == f"snowplow_ecommerce_action {action}"


def test_cloudevents_are_read_in_a_batch_with_a_shops_own_names() -> None:
    mapped = read("cloudevents", payload("cloudevents"))
    assert short(mapped) == [
        ("view", "tent-2", "s-42", "anna", -3600.0, None, None, None, None),
        ("purchase", "tent-2", "s-42", None, 300.0, 1, 1299.5, "CHF", "O-9"),
        ("purchase", "peg-10", "s-42", None, 300.0, 3, 6.0, "CHF", "O-9"),
    ]
    assert reasons(mapped)[2:] == ["unknown_event", "invalid"]
    assert "at /3/specversion: expected '1.0', got '0.3'" in str(mapped[3].refused)


def test_a_cloudevent_in_headers_is_the_same_as_one_in_the_body() -> None:
    headers = {
        **{"ce-specversion": "1.0", "ce-id": "a-1", "CE-Source": "/shop%20web", "ce-type": "item.viewed"},
        **{"ce-time": "2026-12-01T12:00:00Z", "Content-Type": "application/json"},
    }
    document = from_headers(headers, {"session_id": "s-1", "item_id": "tent-2"})
    event = read("cloudevents", document)[0].events[0]
    assert (event["event_id"], event["ts"]) == ("cloudevents:/shop web:a-1:tent-2", NOON)
    assert from_headers({"Content-Type": "application/json"}, {}) is None


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("com.example.product.viewed.v2", "view"),
        ("ProductViewed", "view"),
        ("shop/cart/item_added", "cart"),
        ("order.completed", "purchase"),
        ("com.example.page.viewed", None),
    ],
)
def test_a_cloudevents_type_is_read_from_its_end(name: str, type_: str | None) -> None:
    assert type_of(name) == type_


def test_matomos_requests_give_views_what_is_in_the_cart_and_orders() -> None:
    mapped = read("matomo", payload("matomo"))
    visitor = "0123456789abcdef"
    assert short(mapped) == [
        ("view", "tent-2", visitor, None, 0.0, None, 129.9, None, None),
        ("cart", "tent-2", visitor, "anna", 20.0, 1, 129.9, None, None),
        ("purchase", "tent-2", visitor, "anna", 30.0, 1, 129.9, None, "O-3"),
        ("purchase", "peg-10", visitor, "anna", 30.0, 2, 25.0, None, "O-3"),
    ]
    assert [one.is_ignored for one in mapped] == [False, True, False, False, False]
    assert reasons(mapped)[4] == "unknown_event"


@pytest.mark.parametrize("vendor", ["ga4", "segment", "snowplow", "cloudevents", "matomo"])
def test_a_repeated_delivery_has_the_same_ids_and_one_payload_has_none_twice(vendor: str) -> None:
    document = payload("snowplow_transaction" if vendor == "snowplow" else vendor)
    first = [one["event_id"] for part in read(vendor, document) for one in part.events]
    later = [one["event_id"] for part in read(vendor, document, NOON + 3 * MINUTE) for one in part.events]
    assert first == later
    assert len(set(first)) == len(first) > 0


def test_an_order_counts_once_whoever_sends_it() -> None:
    def order(message_id: str) -> list[str]:
        properties = {"order_id": "O-1", "products": [{"product_id": "a"}, {"product_id": "a"}, {"product_id": "b"}]}
        message = {"event": "Order Completed", "messageId": message_id, "anonymousId": "x", "properties": properties}
        return [one["event_id"] for part in read("segment", message) for one in part.events]

    assert order("from-page") == order("from-server")
    assert order("m") == ["segment:order:O-1:a", "segment:order:O-1:a:1", "segment:order:O-1:b"]


def test_an_event_without_a_time_counts_once_in_a_minute() -> None:
    document = {
        "client_id": "c",
        "events": [{"name": "view_item", "params": {"items": [{"item_id": "a"}]}}],
    }
    ids = [read("ga4", document, at)[0].events[0]["event_id"] for at in (NOON, NOON + 59_000, NOON + 60_000)]
    assert ids[0] == ids[1] != ids[2]
    assert reasons(read("ga4", document, None)) == ["no_time"]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (12, "12"),
        (12.0, "12"),
        ("00123", "00123"),
        ("  sku:123 ", "sku:123"),
        ("A 1", "A 1"),
        ("é", "é"),
        (0, "0"),
        ("null", None),
        ("(not set)", None),
        (None, None),
    ],
)
def test_an_id_is_a_text_or_a_whole_number(written: object, read_as: str | None) -> None:
    assert optional_id(written) == read_as


def ga4(params: dict[str, Any], name: str = "purchase", **more: Any) -> dict[str, Any]:
    event = {"name": name, "params": {"transaction_id": "T", **params}}
    return {"client_id": "c", "timestamp_micros": NOON * 1000, "events": [event], **more}


def items(*found: Any) -> dict[str, Any]:
    return {"items": list(found)}


@pytest.mark.parametrize(
    ("vendor", "document", "reason", "said"),
    [
        ("ga4", [], "not_an_object", "expected an object with `events`, got []"),
        ("ga4", {"client_id": "c"}, "invalid", "expected `events`"),
        ("ga4", {"events": {}}, "invalid", "at /events: expected a list, got {}"),
        ("ga4", {"events": [7]}, "not_an_object", "at /events/0: expected an object, got 7"),
        ("ga4", ga4({}, "view_item"), "no_item", "expected at least one item of a view, got none"),
        ("ga4", ga4(items({"item_name": "Tent"})), "no_item", "at /events/0/params/items/0: expected an item id"),
        ("ga4", ga4(items({"item_id": 1.5})), "invalid_id", "a text or a whole number, got 1.5"),
        ("ga4", ga4(items({"item_id": "x" * 257})), "invalid_id", "expected an id of 1 to 256 characters, got 257"),
        ("ga4", ga4(items({"item_id": "a", "price": "12 cents"})), "minor_units", "items/0/price: expected whole"),
        ("ga4", ga4(items({"item_id": "a", "price": 1, "currency": "euro"})), "unknown_currency", "three letters"),
        ("ga4", ga4(items({"item_id": "a", "quantity": -1})), "invalid_quantity", "expected 1 to 1000000 pieces"),
        ("ga4", ga4(items(*[{"item_id": "a"}] * 1001)), "too_many_items", "expected at most 1000, got 1001"),
        ("ga4", ga4(items({"item_id": "a"}), client_id=None), "no_session", "expected client_id"),
        ("ga4", ga4(items({"item_id": "a"}), timestamp_micros=NOON), "invalid_time", "microseconds"),
        ("segment", "x", "not_an_object", "expected a message"),
        ("segment", {"event": "Product Viewed", "properties": {"sku": "a"}}, "no_session", "anonymousId or userId"),
        ("segment", {"event": "Product Viewed", "anonymousId": "a", "timestamp": "soon"}, "invalid_time", "'soon'"),
        ("segment", {"type": "track"}, "unknown_event", "'track' is not an event"),
        ("snowplow", {"schema": "iglu:a/b/jsonschema/1-0-0", "data": []}, "invalid", "expected a self-describing"),
        ("snowplow", {"e": "ue", "ue_px": "%%%"}, "not_json", "at /ue_px: expected base64 of JSON, got '%%%'"),
        ("snowplow", {"e": "ue", "ue_pr": "[" * 2000}, "not_json", "at /ue_pr: expected JSON"),
        ("snowplow", {"e": "ue", "ue_pr": "1" * 90_000}, "too_large", "expected at most 65536 bytes of JSON"),
        ("cloudevents", {"specversion": "1.0", "id": "a", "source": "s", "type": ""}, "invalid", "/type"),
        ("matomo", {"requests": ["idgoal=0&ec_id=1&_id=a&ec_items=%FF"]}, "not_utf8", "at /requests/0: expected UTF-8"),
        ("matomo", {"requests": ["a=1&" * 201]}, "too_large", "expected at most 200 fields, got more"),
        ("matomo", {"idgoal": "0", "ec_id": "O", "_id": "a", "ec_items": '{"a":1}'}, "invalid", "a list of items"),
        ("matomo", {"_pks": "a", "_id": "v", "cdt": "1796126400000"}, "invalid_time", "epoch seconds"),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_place(vendor: str, document: Any, reason: str, said: str) -> None:
    refused = read(vendor, document)[0].refused
    assert refused is not None
    assert refused.reason == reason
    assert said in refused.detail


def test_a_price_that_can_be_read_both_ways_is_taken_and_said() -> None:
    mapped = read("ga4", ga4({"currency": "EUR", **items({"item_id": "a", "price": "1.299", "quantity": 2})}))
    assert mapped[0].events[0]["value"] == 2598.0
    assert mapped[0].notes == (
        "/events/0/params/items/0/price: '1.299' was read as 1299.00 EUR (thousands; could be read otherwise)",
    )


def test_a_view_goes_on_without_a_price_that_cannot_be_read() -> None:
    event = read("ga4", ga4(items({"item_id": "a", "price": "on request"}), "view_item"))[0].events[0]
    assert "value" not in event


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value of a document."""
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(one for name, value in inside for one in places(value, (*path, name)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = changed(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("vendor", ["ga4", "segment", "snowplow", "cloudevents", "matomo"])
@settings(max_examples=40)
@given(drawn=st.data())
def test_whatever_a_field_holds_every_event_that_is_made_is_one_of_ours(vendor: str, drawn: st.DataObject) -> None:
    document = payload("snowplow_transaction" if vendor == "snowplow" else vendor)
    document = changed(document, drawn.draw(st.sampled_from(places(document))), drawn.draw(VALUES))
    for one in read(vendor, document):
        for event in one.events:
            assert isinstance(check_event(event, now_ms=LAST_MS), PlainEvent), event


GRANTED, REFUSED = {"personalization_storage": "granted"}, {"personalization_storage": "denied"}


@pytest.mark.parametrize(
    ("said", "consent"),
    [
        ([{}], None),
        ([None, "denied", 7, {"personalization_storage": "maybe", 3: []}], None),
        ([GRANTED], True),
        ([REFUSED], False),
        ([GRANTED, REFUSED], False),
        ([{"ad_personalization": "GRANTED"}], True),
        ([{"ad_personalization": "DENIED"}], False),
        ([{**GRANTED, "ad_personalization": "DENIED"}], True),
        ([{**GRANTED, "analytics_storage": "denied"}], False),
        ([{"analytics_storage": "Yes"}], None),
        ([{"analytics_storage": "No"}], False),
        ([{"ad_storage": "denied", "ad_user_data": "DENIED"}], None),
        ([google_state("G110"), GRANTED], False),
        ([google_state("G101")], None),
        ([google_state("G1--"), google_state("G9"), google_state(None)], None),
    ],
)
def test_googles_consent_mode_is_read(said: list[Any], consent: bool | None) -> None:
    assert google(*said) is consent


@pytest.mark.parametrize(
    ("preferences", "consent"),
    [
        ({"Advertising": False, "Analytics": True, "Marketing and Personalization": True}, True),
        ({"Advertising": True, "Analytics": True, "Personalization": False}, False),
        ({"Advertising": True, "Analytics": False}, False),
        ({"Advertising": False, "Analytics": True}, None),
        ({"C0002": False, "C0003": False}, False),
        ({"C0002": False, "C0003": True}, None),
        ({"Personalization": "no"}, None),
        ({}, None),
        ("none", None),
    ],
)
def test_segments_categories_of_consent_are_read(preferences: Any, consent: bool | None) -> None:
    assert segment({"categoryPreferences": preferences}) is consent


def test_consent_stands_in_each_event_and_in_what_was_refused() -> None:
    payload = {
        **{"client_id": "1.2", "consent": {"ad_personalization": "DENIED"}},
        "events": [
            {"name": "view_item", "params": {"items": [{"item_id": "a"}, {"item_id": "b"}]}},
            {"name": "nothing"},
            {"name": "view_item", "consent": GRANTED, "params": {"items": [{"item_id": "c"}]}},
        ],
    }
    seen, unknown, granted = ADAPTERS["ga4"].read(payload, NOON)
    assert [event["consent"] for event in seen.events] == [False, False]
    assert (unknown.consent, unknown.refused is not None) == (False, True)
    assert [event["consent"] for event in granted.events] == [True]
    [row] = ADAPTERS["ga4"].read(
        {"event_name": "view_item", "user_pseudo_id": "1", "privacy_info": {"analytics_storage": "No"}, "items": []},
        NOON,
    )
    assert row.consent is False
