"""POST /api/events: what visitors did, answered once it is durably in the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from contracts.api import EventsAnswer, RejectedEvent
from contracts.events import Event, Rejection, parse_event
from contracts.ids import partition_of
from eventlog.contract import DeadLetter, Position, Record, Topic
from gateway.appends import Appends, dead_letter
from gateway.keys import APPENDS, CLOCK, RECORDER, SETTINGS
from gateway.metrics import METRICS
from gateway.problems import out_of_range
from gateway.wire import BEACON_TYPES, json_response, read_json


@dataclass(slots=True)
class Sorted:
    """A body's events, sorted: clicks and impressions for the log, the rest refused."""

    clicks: list[Record] = field(default_factory=list)
    impressions: list[Record] = field(default_factory=list)
    rejected: list[RejectedEvent] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


async def post_events(request: web.Request) -> web.Response:
    """Take one event or an array of them."""
    app = request.app
    document = await read_json(request, BEACON_TYPES)
    documents = document if isinstance(document, list) else [document]
    limit = app[SETTINGS].gateway.max_events
    if len(documents) > limit:
        raise out_of_range(f"expected at most {limit} events in one request, got {len(documents)}: send them in parts")
    found = sort_events(documents, now_ms=app[CLOCK](), partitions=app[SETTINGS].log.partitions)
    for letter in found.letters:
        app[APPENDS].dead_letters.offer(letter)
        app[METRICS].events[letter.reason] += 1
    token = await append_events(app[APPENDS], found)
    if (recorder := app[RECORDER]) is not None:
        recorder.offer(found.clicks)
        recorder.offer(found.impressions)
    accepted = len(found.clicks) + len(found.impressions)
    app[METRICS].events["accepted"] += accepted
    answer = EventsAnswer(accepted=accepted, rejected=found.rejected, token=token)
    return json_response(answer.model_dump(), HTTPStatus.ACCEPTED)


def sort_events(documents: Sequence[Any], *, now_ms: int, partitions: int) -> Sorted:
    """Validate decoded events. What is refused keeps its index and becomes a dead letter."""
    found = Sorted()
    for index, document in enumerate(documents):
        event = parse_event(document, now_ms=now_ms)
        record = _record(event, document) if isinstance(event, Event) else event
        if isinstance(record, Rejection):
            found.rejected.append(RejectedEvent(index=index, reason=str(record)))
            partition = partition_of(_session_of(document), partitions)
            found.letters.append(dead_letter(_raw(document), partition, record.reason, record.detail, now_ms))
        elif isinstance(event, Event):
            (found.impressions if event.is_impression else found.clicks).append(record)
    return found


async def append_events(appends: Appends, found: Sorted) -> str | None:
    """Append both kinds; returns the token of the last click, None when there was no click."""
    positions: list[Position] = []
    if found.clicks:
        positions = await appends.append(Topic.CLICKS, found.clicks)
    if found.impressions:
        await appends.append(Topic.IMPRESSIONS, found.impressions)
    return positions[-1].token if positions else None


def _record(event: Event, document: Any) -> Record | Rejection:
    try:
        return Record(event.session_id, orjson.dumps(document))
    except orjson.JSONEncodeError as error:
        return Rejection("invalid", f"the event cannot be written as JSON again ({error}): nest it less deeply")


def _session_of(document: Any) -> str:
    session_id = document.get("session_id") if isinstance(document, dict) else None
    return session_id if isinstance(session_id, str) else ""


def _raw(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return repr(document).encode()
