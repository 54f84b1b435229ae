"""Plain events are taken by a compiled decoder, all others by the schema: what comes of them is the same."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.events import Event, EventCode, Rejection, parse_event
from contracts.plain_events import PlainEvent, check_event, decode_event, plain_events
from contracts.plausible import deeper_than
from tests.contracts.oracle_events import decode_event as by_the_schema
from tests.contracts.oracle_events import written_again

NOW = 1_700_000_000_000
VIEW: dict[str, Any] = {"v": 1, "event_id": "e1", "type": "view", "session_id": "s1", "item_id": "i1", "ts": NOW}
FIELDS = ("v", "event_id", "type", "session_id", "user_id", "item_id", "ts", "context", "request_id", "items", "value")
FIELDS += ("quantity", "order_id", "currency")

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "x" * 256, "x" * 257, "é" * 256, "𝄞" * 257, "a\nb", "\\", '"', "\x7f"]
)
NUMBERS = (
    st.integers(-5, 5)
    | st.sampled_from([0, 1, -1, NOW, NOW + 300_000, NOW + 300_001, 10**8, 10**8 - 1, 10**11, 10**11 - 1])
    | st.sampled_from([2**53, 2**63, 2**64 - 1, -(2**63), 253_402_300_799_999, 253_402_300_800_000])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(
    ["view", "cart", "purchase", "impression", "wishlist_add", "View", "view\n", "a" * 32, "a" * 33]
)
IDS = st.lists(TEXTS, max_size=3) | st.just(["i"] * 1000) | st.just(["i"] * 1001)
LIKELY: dict[str, st.SearchStrategy[Any]] = {"type": TYPES, "ts": NUMBERS, "items": IDS, "value": NUMBERS}
LIKELY |= {"quantity": NUMBERS, "currency": st.sampled_from(["EUR", "eur", "EURO", "EUR\n", "ÄUR"])}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A view with some fields left out, some replaced by what may or may not be right, and some of the client's own."""
    document = {name: value for name, value in VIEW.items() if draw(st.integers(0, 9))}
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        document[name] = draw(LIKELY.get(name, TEXTS) | VALUES)
    document |= draw(st.dictionaries(TEXTS, VALUES, max_size=1))
    return document


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """The JSON of a document as other encoders write it, with a field twice, or damaged."""
    document = draw(documents())
    parts = [(orjson.dumps(name).decode(), orjson.dumps(value).decode()) for name, value in document.items()]
    if parts:
        parts += draw(st.lists(st.sampled_from(parts), max_size=1))
        if draw(st.booleans()):
            name = draw(st.sampled_from(parts))[0]
            parts.insert(draw(st.integers(0, len(parts))), (name, draw(st.sampled_from(ODD))))
    between, after = draw(st.sampled_from([(",", ":"), (", ", ": "), (",\n\t", " :\r\n")]))
    raw = ("{" + between.join(name + after + value for name, value in parts) + "}").encode()
    return draw(st.just(raw) | damages(raw))


ODD = ("NaN", "1e400", "-0", "-0.0", "1.0", "1e0", "01", "1" * 30, "1" * 400, '"\\ud800"', '"\\u0065"', '"\\q"', "nul")
ALPHABET = b'{}[]",:\\/u0123456789abcdefEeD8+-. \n\t\x00\x1f\x7f\xc3\xa9\xed\xa0\xff'


def damages(raw: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with one of them replaced, left out, or put in."""

    def damaged(at: int, byte: int, kind: int) -> bytes:
        return raw[:at] + (bytes((byte,)) if kind else b"") + raw[at + (kind < 2) :]

    return st.builds(damaged, st.integers(0, len(raw) - 1), st.sampled_from(ALPHABET), st.integers(0, 2))


def seen(found: Event | PlainEvent | Rejection) -> object:
    """What a flow sees: the refusal with its words, or the fields."""
    if isinstance(found, Rejection):
        return found
    fields = {name: _as_json_reads(getattr(found, name)) for name in FIELDS}
    return fields | {"code": found.code, "is_impression": found.is_impression}


def _as_json_reads(value: Any) -> Any:
    """Whole numbers beyond 64 bits are floats to orjson, and whole to the decoder."""
    if deeper_than(value, 100):  # too deep to compare
        return sorted(value)
    if isinstance(value, dict):
        return {name: _as_json_reads(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_json_reads(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


def with_context(context: bytes) -> bytes:
    return orjson.dumps(VIEW)[:-1] + b',"context":' + context + b"}"


@settings(max_examples=250, deadline=None)
@given(texts())
@example(b"")
@example(b"[]")
@example(with_context(nested(300)))
@example(with_context(nested(1010)))
@example(with_context(nested(5000)))
@example(with_context(b'{"a":"\\ud800"}'))
@example(with_context(b'{"a":"\xff"}'))
@example(with_context(b'{"a":1e400}'))
@example(with_context(b'{"a":NaN}'))
@example(with_context(b"{1:2}"))
@example(orjson.dumps(VIEW).replace(b"view", b"view\\n"))
def test_any_bytes_are_taken_or_refused_as_the_schema_says(raw: bytes) -> None:
    assert seen(decode_event(raw, now_ms=NOW)) == seen(by_the_schema(raw, now_ms=NOW))


@settings(max_examples=120, deadline=None)
@given(documents() | VALUES)
@example({**VIEW, "session_id": "\ud800"})
@example({**VIEW, "context": {"\ud800": 1}})
@example({**VIEW, "value": math.inf})
@example({**VIEW, "v": True})
@example({**VIEW, "v": 1.0})
@example({**VIEW, "ts": True})
@example({**VIEW, "ts": 2**70})
def test_any_document_is_taken_or_refused_as_the_schema_says(document: Any) -> None:
    assert seen(check_event(document, now_ms=NOW)) == seen(parse_event(document, now_ms=NOW))


@settings(max_examples=120, deadline=None)
@given(st.lists(texts(), min_size=1, max_size=4))
@example([with_context(nested(200))])
@example([with_context(nested(300))])
def test_a_body_of_plain_events_gives_the_records_that_their_documents_give(raws: list[bytes]) -> None:
    found = plain_events(b"[" + b",".join(raws) + b"]", now_ms=NOW)
    if found is None:
        return
    assert [seen(event) for event, _ in found] == [seen(by_the_schema(raw, now_ms=NOW)) for raw in raws]
    for (_, record), raw in zip(found, raws, strict=True):
        again = written_again(raw)
        assert again is not None
        assert orjson.loads(record) == orjson.loads(again)
        assert b"\n" not in record


def test_the_plain_shape_never_asks_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the schema was asked")

    monkeypatch.setattr("contracts.plain_events.parse_event", refuse)
    monkeypatch.setattr("contracts.plain_events.check_event", refuse)
    full = {**VIEW, "user_id": "u", "context": {"device": "m"}, "request_id": "r", "value": 2, "type": "wishlist_add"}
    full |= {"quantity": 2, "order_id": "o", "currency": "EUR"}
    shown = {**VIEW, "type": "impression", "items": ["a", "b"], "item_id": None}
    for document in (VIEW, full, shown):
        assert isinstance(decode_event(orjson.dumps(document), now_ms=NOW), PlainEvent)
    assert plain_events(orjson.dumps([VIEW, full, shown]), now_ms=NOW) is not None
    assert plain_events(orjson.dumps(full), now_ms=NOW) is not None


@pytest.mark.parametrize(
    "body",
    [
        [VIEW, {**VIEW, "campaign": "spring"}],
        [VIEW, {**VIEW, "v": 2}],
        [VIEW, []],
        {**VIEW, "ts": NOW // 1000},
        "click",
    ],
)
def test_a_body_with_anything_else_is_left_to_the_schema(body: object) -> None:
    assert plain_events(orjson.dumps(body), now_ms=NOW) is None


def test_a_record_is_the_json_that_came() -> None:
    raw = b'{"v": 1,"event_id":"e1","type":"view","session_id":"s1","item_id":"\\u00e9","ts":1700000000000,"value":1e1}'
    found = plain_events(b"[" + raw + b"]", now_ms=NOW)
    assert found is not None
    [(event, record)] = found
    assert (record, event.item_id, event.value, event.code) == (raw, "é", 10.0, EventCode.VIEW)


def test_json_on_several_lines_is_written_again_on_one() -> None:
    assert plain_events(orjson.dumps([VIEW], option=orjson.OPT_INDENT_2), now_ms=NOW) is None
