"""POST /api/events: what visitors did, answered once it is durably in the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from contracts.api import EventsAnswer, RejectedEvent
from contracts.events import Rejection, shown
from contracts.ids import partition_of
from contracts.plain_events import PlainEvent, check_event, plain_events
from contracts.tracing import trace_appended
from eventlog.contract import DeadLetter, Position, Record, Topic
from gateway.appends import MAX_RAW, Appends, dead_letter
from gateway.consents import CONSENTS
from gateway.erasures import ERASURES
from gateway.event_age import any_too_old, longest_age_ms, too_old
from gateway.keys import APPENDS, CLOCK, RECORDER, SETTINGS
from gateway.metrics import METRICS
from gateway.problems import out_of_range
from gateway.wire import BEACON_TYPES, decoded, json_response, read_body


@dataclass(slots=True)
class Sorted:
    """A body's events, sorted: clicks and impressions for the log, the rest refused."""

    clicks: list[Record] = field(default_factory=list)
    impressions: list[Record] = field(default_factory=list)
    rejected: list[RejectedEvent] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    not_kept: int = 0
    """Events without consent: in none of these."""


Refuses = Callable[[PlainEvent], bool]
"""Tells of an event that it is not to be kept."""
MayBeKept = Callable[[Any], bool]
"""Tells of a decoded document that is no event whether it may become a dead letter."""
SortsDocuments = Callable[[Sequence[Any]], Sorted]


async def post_events(request: web.Request) -> web.Response:
    """Take one event or an array of them."""
    app = request.app
    body = await read_body(request, BEACON_TYPES)
    limit, now_ms = app[SETTINGS].gateway.max_events, app[CLOCK]()
    oldest_ms = now_ms - longest_age_ms(app[SETTINGS])
    refuses = app[CONSENTS].refused(request.headers)
    events, erased = plain_events(body, now_ms=now_ms), app[ERASURES]
    if erased.names and events is not None:
        events = [one for one in events if not erased.covers(one[0])]
    if events is None or any_too_old(events, oldest_ms):
        documents = documents_of(body)
        expect_at_most(limit, len(documents))
        found = sorting(request, now_ms)(documents)
    else:
        expect_at_most(limit, len(events))
        found = sort_plain(events, refuses)
    token = await take_events(app, found)
    accepted = len(found.clicks) + len(found.impressions)
    answer = EventsAnswer(accepted=accepted, rejected=found.rejected, token=token).model_dump(exclude={"not_kept"})
    if found.not_kept:
        answer["not_kept"] = found.not_kept
    return json_response(answer, HTTPStatus.ACCEPTED)


def sorting(request: web.Request, now_ms: int) -> SortsDocuments:
    """Return what sorts decoded events that come with a request: by their form and times, by consent, and by who was
    erased.
    """
    app, headers = request.app, request.headers
    consents = app[CONSENTS]
    return partial(
        sort_documents,
        now_ms=now_ms,
        partitions=app[SETTINGS].log.partitions,
        oldest_ms=now_ms - longest_age_ms(app[SETTINGS]),
        refuses=consents.refused(headers),
        may_be_kept=lambda document: consents.may_be_kept(document, headers),
        covers=app[ERASURES].covers,
    )


async def take_events(app: web.Application, found: Sorted) -> str | None:
    """Append events, and keep letters of those that were refused; returns the token of the last click.

    Raises as `Appends.append`.
    """
    for letter in found.letters:
        app[APPENDS].dead_letters.offer(letter)
        app[METRICS].events[letter.reason] += 1
    traced = app[SETTINGS].tracing.endpoint
    began_ns = time.time_ns() if traced else 0
    token = await append_events(app[APPENDS], found)
    if traced and token is not None:
        trace_appended(Topic.CLICKS, *Position.parse(token), began_ns)
    if (recorder := app[RECORDER]) is not None:
        recorder.offer(found.clicks)
        recorder.offer(found.impressions)
    app[METRICS].events["accepted"] += len(found.clicks) + len(found.impressions)
    if found.not_kept:
        app[METRICS].events["not_kept"] += found.not_kept
    return token


def documents_of(body: bytes) -> list[Any]:
    """Decode a body of one JSON value or an array of them. Raises Refused: 400 not JSON."""
    document = decoded(body)
    return document if isinstance(document, list) else [document]


def expect_at_most(limit: int, events: int) -> None:
    if events > limit:
        raise out_of_range(f"expected at most {limit} events in one request, got {events}: send them in parts")


def _none(event: PlainEvent) -> bool:
    return False


def sort_plain(events: Iterable[tuple[PlainEvent, bytes]], refuses: Refuses = _none) -> Sorted:
    """Sort events that were all taken; their records are the JSON that came."""
    found = Sorted()
    for event, raw in events:
        if refuses(event):
            found.not_kept += 1
            continue
        (found.impressions if event.is_impression else found.clicks).append(Record(event.session_id, raw))
    return found


def sort_documents(
    documents: Sequence[Any],
    *,
    now_ms: int,
    partitions: int,
    oldest_ms: int = 0,
    refuses: Refuses = _none,
    may_be_kept: MayBeKept = lambda document: True,
    covers: Callable[[PlainEvent], bool] = lambda _: False,
) -> Sorted:
    """Check decoded events. What is refused keeps its index and becomes a dead letter, unless its visitor did not
    consent; what `covers` says is of the past of somebody who was erased is left out.
    """
    found = Sorted()
    for index, document in enumerate(documents):
        event = check_event(document, now_ms=now_ms)
        if isinstance(event, PlainEvent):
            if refuses(event):
                found.not_kept += 1
                continue
            if covers(event):
                continue
            event = too_old(event, now_ms, oldest_ms) or event
        record = event if isinstance(event, Rejection) else _record(event, document)
        if isinstance(record, Rejection):
            found.rejected.append(RejectedEvent(index=index, reason=str(record)))
            if not may_be_kept(document):
                continue
            partition = partition_of(_session_of(document), partitions)
            found.letters.append(dead_letter(raw_of(document), partition, record.reason, record.detail, now_ms))
        elif isinstance(event, PlainEvent):
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


def _record(event: PlainEvent, document: Any) -> Record | Rejection:
    try:
        return Record(event.session_id, orjson.dumps(document))
    except orjson.JSONEncodeError as error:
        return Rejection("invalid", f"the event cannot be written as JSON again ({error}): nest it less deeply")


def _session_of(document: Any) -> str:
    session_id = document.get("session_id") if isinstance(document, dict) else None
    return session_id if isinstance(session_id, str) else ""


def raw_of(document: Any) -> bytes:
    """Return what a letter keeps of a document: its JSON, or as much of it as can be written."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return shown(document, MAX_RAW).encode()
