"""Events as the flows and the gateway use them: checked without a model object each, where their shape is plain.

The schema is `contracts.events.Event`. What it takes and what it refuses, and with which words, is decided here in two
steps: one pass of a compiled decoder that says yes to the plain shape (known fields alone, of the schema's types), and
for whatever that does not take, the schema itself. The decoder never says yes where the schema says no.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import orjson

from contracts.events import (
    CURRENCY,
    EPOCH_SECONDS,
    EVENT_CODES,
    MAX_FUTURE_MS,
    MOST_PIECES,
    NO_CONSENT,
    Event,
    EventCode,
    Rejection,
    code_of,
    is_rating,
    parse_event,
)

_Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_LAST_MS: Final = 253_402_300_799_999
_SECONDS_FROM, _SECONDS_TO = EPOCH_SECONDS.start, EPOCH_SECONDS.stop
_COMMON_TYPES: Final = frozenset((*EVENT_CODES, "impression"))
_FEW_BRACKETS: Final = 250
"""So many nest no deeper than what orjson writes again, 254: deeper events are refused at the door, with a reason."""
_is_type = re.compile(r"[a-z][a-z0-9_]{0,31}").fullmatch


class EventFields(Protocol):
    """What counting reads of an event, of an `Event` and a `PlainEvent` alike."""

    @property
    def event_id(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def item_id(self) -> str | None: ...

    @property
    def ts(self) -> int: ...

    @property
    def context(self) -> Mapping[str, Any] | None: ...

    @property
    def request_id(self) -> str | None: ...

    @property
    def items(self) -> list[str] | None: ...

    @property
    def code(self) -> EventCode: ...

    @property
    def is_impression(self) -> bool: ...


class PlainEvent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A checked event: the fields of `Event`, without the client's own, which stay in the log alone."""

    v: Literal[1]
    event_id: _Identifier
    type: str
    session_id: _Identifier
    ts: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    user_id: _Identifier | None = None
    item_id: _Identifier | None = None
    context: dict[str, Any] | None = None
    request_id: _Identifier | None = None
    items: Annotated[list[_Identifier], msgspec.Meta(max_length=1000)] | None = None
    value: float | None = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MOST_PIECES)] | None = None
    order_id: _Identifier | None = None
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3, pattern=CURRENCY)] | None = None
    consent: bool | None = None

    @property
    def code(self) -> EventCode:
        """What the event means in a session window."""
        return code_of(self.type, self.value, self.context)

    @property
    def is_impression(self) -> bool:
        return self.type == "impression"


class _Open(PlainEvent, frozen=True, gc=False, forbid_unknown_fields=False):
    """A plain event beside fields of the client's own: only of a document that was decoded whole."""


_decode: Final = msgspec.json.Decoder(PlainEvent).decode
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


NO_TYPES: Final[Mapping[str, str]] = {}


def read_as(event: PlainEvent, types: Mapping[str, str]) -> PlainEvent:
    """Return an event with the type that a setting (`events.types`) says its own type means."""
    meant = types.get(event.type)
    return event if meant is None else msgspec.structs.replace(event, type=meant)


def decode_event(raw: bytes, *, now_ms: int, max_future_ms: int = MAX_FUTURE_MS) -> PlainEvent | Rejection:
    """Decode and check one event from the log. Reasons as `parse_event`, `not_json`, and NO_CONSENT."""
    try:
        event = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        if _is_plain(event, now_ms + max_future_ms):
            return NO_CONSENT if event.consent is False else event
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Rejection("not_json", str(error))
    if isinstance(document, dict) and document.get("consent") is False:
        return NO_CONSENT
    return check_event(document, now_ms=now_ms, max_future_ms=max_future_ms)


def check_event(document: object, *, now_ms: int, max_future_ms: int = MAX_FUTURE_MS) -> PlainEvent | Rejection:
    """Check one decoded JSON value. Reasons as `parse_event`."""
    try:
        event = msgspec.convert(document, _Open)
    except (msgspec.ValidationError, RecursionError):
        pass
    else:
        if _is_plain(event, now_ms + max_future_ms) and _can_be_written(event):
            return event
    found = parse_event(document, now_ms=now_ms, max_future_ms=max_future_ms)
    return found if isinstance(found, Rejection) else plain(found)


def plain_events(
    body: bytes, *, now_ms: int, max_future_ms: int = MAX_FUTURE_MS
) -> list[tuple[PlainEvent, bytes]] | None:
    """Decode a body of one event or an array of them into (event, its own JSON); None unless all of them are plain.

    The JSON is a part of the body as it came, on one line. Where this returns None the body may be anything.
    """
    latest_ms = now_ms + max_future_ms
    try:
        raws = _parts(body) if body[:1] == b"[" else [body]
        found = []
        for raw in raws:
            event, record = _decode(raw), bytes(raw)
            if not _is_plain(event, latest_ms) or record.count(b"[") + record.count(b"{") > _FEW_BRACKETS:
                return None
            found.append((event, record))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if b"\n" in body or b"\r" in body else found


def plain(event: Event) -> PlainEvent:
    """Return what the flows use of an event."""
    return PlainEvent(
        1,
        event.event_id,
        event.type,
        event.session_id,
        event.ts,
        event.user_id,
        event.item_id,
        event.context,
        event.request_id,
        event.items,
        event.value,
        event.quantity,
        event.order_id,
        event.currency,
        event.consent,
    )


def _is_plain(event: PlainEvent, latest_ms: int) -> bool:
    """Tell whether a decoded event keeps the schema's rules beyond its types."""
    ts, kind = event.ts, event.type
    if ts > latest_ms or _SECONDS_FROM <= ts < _SECONDS_TO:
        return False
    if kind not in _COMMON_TYPES and (not _is_type(kind) or (kind == "rating" and not is_rating(event.value))):
        return False
    return event.item_id is not None if kind != "impression" else bool(event.items)


def _can_be_written(event: PlainEvent) -> bool:
    """Tell whether a document's strings are text: Python's may hold half a character, which the schema refuses."""
    named = (event.event_id, event.session_id, event.user_id or "", event.item_id or "", event.request_id or "")
    try:
        "".join((*named, event.order_id or "", *(event.items or ()), *(event.context or ()))).encode()
    except UnicodeEncodeError:
        return False
    return True
