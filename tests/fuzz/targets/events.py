"""Events from outside and from the log: the quick decoder, the schema and the door agree, and what the door takes comes
back from the log as it was.
"""

from __future__ import annotations

import orjson
from msgspec.structs import astuple

from contracts.events import NO_CONSENT, Event, Rejection, parse_event
from contracts.plain_events import PlainEvent, decode_event, plain, plain_events
from gateway.events import sort_documents, sort_plain
from tests.fuzz.target import Target, dumped

NOW = 1_700_000_000_000
CLICK = {"v": 1, "event_id": "e1", "type": "view", "session_id": "s", "item_id": "i", "ts": NOW}
SHOWN = {"v": 1, "event_id": "e2", "type": "impression", "session_id": "s", "items": ["a", "b"], "ts": NOW}
FULL = {**CLICK, "user_id": "u", "request_id": "r", "context": {"device": "m", "deep": [[{}]]}, "value": 3.5, "own": 1}


SEEDS = {
    **{"click": CLICK, "shown": SHOWN, "full": FULL, "two": [CLICK, SHOWN]},
    "no": {**CLICK, "consent": False},
}


def says_no(event: PlainEvent) -> bool:
    return event.consent is False


def check(raw: bytes) -> None:
    found = decode_event(raw, now_ms=NOW)
    assert isinstance(found, PlainEvent | Rejection)
    str(found).encode()
    several = plain_events(raw, now_ms=NOW)
    if several is not None:
        taken = sort_plain(several, says_no)
        for record in (*taken.clicks, *taken.impressions):
            assert isinstance(decode_event(record.value, now_ms=NOW), PlainEvent)
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        assert isinstance(found, Rejection)
        return
    whole = parse_event(document, now_ms=NOW)
    if isinstance(document, dict) and document.get("consent") is False:
        assert found is NO_CONSENT
    elif isinstance(whole, Event):
        assert isinstance(found, PlainEvent)
        assert astuple(found) == astuple(plain(whole))
    else:
        assert found == whole
    documents = document if isinstance(document, list) else [document]
    sorted_out = sort_documents(documents, now_ms=NOW, partitions=8, refuses=says_no)
    for record in (*sorted_out.clicks, *sorted_out.impressions):
        assert isinstance(decode_event(record.value, now_ms=NOW), PlainEvent)
    for refused in sorted_out.rejected:
        refused.model_dump_json()


TARGET = Target(
    check,
    {name: dumped(one) for name, one in SEEDS.items()},
    code=("contracts.plain_events", "contracts.events", "gateway.events"),
    words=(*(b'"%s":' % name.encode() for name in Event.model_fields), b'"impression"', b'"view"', b"1700000000"),
)
