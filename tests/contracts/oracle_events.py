"""What is taken of an event and what is refused, by the schema alone: the twin of `contracts.plain_events`."""

from __future__ import annotations

import orjson

from contracts.events import Event, Rejection, parse_event


def decode_event(raw: bytes, *, now_ms: int) -> Event | Rejection:
    """Decode and validate one event by the schema's model."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Rejection("not_json", str(error))
    return parse_event(document, now_ms=now_ms)


def written_again(raw: bytes) -> bytes | None:
    """Return an event's log record as its decoded document gives it; None where that cannot be written."""
    try:
        return orjson.dumps(orjson.loads(raw))
    except orjson.JSONEncodeError:
        return None
