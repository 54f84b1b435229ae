"""The event schema: what is taken, what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from contracts.events import Event, EventCode, Rejection, parse_event
from contracts.plain_events import PlainEvent, decode_event

NOW = 1_700_000_000_000
VIEW: dict[str, Any] = {"v": 1, "event_id": "e1", "type": "view", "session_id": "s1", "item_id": "i1", "ts": NOW}


def rejection(document: object) -> tuple[str, str]:
    refused = parse_event(document, now_ms=NOW)
    assert isinstance(refused, Rejection)
    return refused.reason, refused.detail


def test_a_view_is_taken_and_unknown_fields_are_kept() -> None:
    event = parse_event({**VIEW, "campaign": "spring"}, now_ms=NOW)
    assert isinstance(event, Event)
    assert (event.item_id, event.code, event.model_extra) == ("i1", EventCode.VIEW, {"campaign": "spring"})


def test_a_type_of_the_sites_own_is_taken() -> None:
    event = parse_event({**VIEW, "type": "wishlist_add"}, now_ms=NOW)
    assert isinstance(event, Event)
    assert event.code is EventCode.OTHER


@pytest.mark.parametrize(
    ("document", "reason", "detail"),
    [
        ([], "not_an_object", "expected a JSON object, got list"),
        ({**VIEW, "v": 2}, "unknown_version", "expected v=1, got v=2"),
        ({**VIEW, "v": True}, "unknown_version", "expected v=1, got v=True"),
        ({k: VIEW[k] for k in VIEW if k != "session_id"}, "invalid", "session_id: Field required"),
        ({**VIEW, "ts": "now"}, "invalid", "ts: Input should be a valid integer, got 'now'"),
        ({**VIEW, "event_id": ""}, "invalid", "event_id: String should have at least 1 character, got ''"),
        ({**VIEW, "item_id": None}, "invalid", "event: Value error, a view event needs an 'item_id'"),
        (
            {**VIEW, "type": "impression"},
            "invalid",
            "event: Value error, an impression needs a non-empty 'items' list",
        ),
    ],
)
def test_what_is_broken_is_refused_with_the_place_and_what_came(document: object, reason: str, detail: str) -> None:
    assert rejection(document) == (reason, detail)


def test_a_timestamp_five_minutes_ahead_is_taken_and_one_beyond_is_refused() -> None:
    assert isinstance(parse_event({**VIEW, "ts": NOW + 300_000}, now_ms=NOW), Event)
    reason, detail = rejection({**VIEW, "ts": NOW + 301_000})
    assert reason == "future_timestamp"
    assert detail.startswith("ts is 301 s ahead of the server's clock, the limit is 300 s")


def test_a_timestamp_in_seconds_is_refused_with_what_to_send() -> None:
    assert rejection({**VIEW, "ts": 1_795_209_875}) == (
        "timestamp_in_seconds",
        "ts is 1795209875, which looks like epoch seconds: send epoch milliseconds",
    )


def test_what_is_not_json_is_refused() -> None:
    refused = decode_event(b"{", now_ms=NOW)
    assert isinstance(refused, Rejection)
    assert refused.reason == "not_json"
    assert isinstance(decode_event(orjson.dumps(VIEW), now_ms=NOW), PlainEvent)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "view"}, EventCode.VIEW),
        ({"type": "view", "context": {"dwell_ms": 1_999}}, EventCode.GLANCE),
        ({"type": "view", "context": {"dwell_ms": 2_000}}, EventCode.VIEW),
        ({"type": "view", "context": {"dwell_ms": 30_000.5}}, EventCode.LOOK),
        ({"type": "view", "context": {"dwell_ms": "long"}}, EventCode.VIEW),
        ({"type": "view", "context": {"dwell_ms": True}}, EventCode.VIEW),
        ({"type": "view", "context": {"dwell_ms": [1]}}, EventCode.VIEW),
        ({"type": "view", "context": {"dwell_ms": -5}}, EventCode.VIEW),
        ({"type": "rating", "value": 1}, EventCode.DISLIKE),
        ({"type": "rating", "value": 2.4}, EventCode.DISLIKE),
        ({"type": "rating", "value": 3}, EventCode.OTHER),
        ({"type": "rating", "value": 3.5}, EventCode.LIKE),
        ({"type": "rating", "value": 5}, EventCode.LIKE),
        ({"type": "hide"}, EventCode.HIDE),
        ({"type": "dislike"}, EventCode.DISLIKE),
        ({"type": "unhide"}, EventCode.UNHIDE),
        ({"type": "like"}, EventCode.LIKE),
        ({"type": "return"}, EventCode.RETURN),
        ({"type": "wishlist_add"}, EventCode.OTHER),
    ],
)
def test_an_event_means_what_its_type_and_numbers_say(fields: dict[str, object], code: EventCode) -> None:
    event = parse_event({**VIEW, **fields}, now_ms=NOW)
    assert isinstance(event, Event)
    assert event.code is code
    plain = decode_event(orjson.dumps({**VIEW, **fields}), now_ms=NOW)
    assert isinstance(plain, PlainEvent)
    assert plain.code is code


@pytest.mark.parametrize("value", [None, 0, 5.1, -1])
def test_a_rating_is_from_one_to_five(value: float | None) -> None:
    refused = parse_event({**VIEW, "type": "rating", "value": value}, now_ms=NOW)
    assert isinstance(refused, Rejection)
    assert f"a rating event needs a 'value' from 1 to 5, got {value}" in refused.detail
    assert isinstance(decode_event(orjson.dumps({**VIEW, "type": "rating", "value": value}), now_ms=NOW), Rejection)
