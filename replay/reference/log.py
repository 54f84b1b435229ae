"""A topic of the log, whole: every record in the order of its partition, checked by the schema itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson

from contracts.events import Event, Rejection, parse_event
from contracts.settings import ServiceSettings
from eventlog.contract import LogReader, Topic
from eventlog.open_log import open_reader

_WAIT_S = 0.5
_AT_ONCE = 2000
_ANY_TIME_MS = 253_402_300_799_999


class LoggedEvent(NamedTuple):
    """Where a record stands, and its event; None for what is none."""

    partition: int
    offset: int
    event: Event | None


def read_topic(
    settings: ServiceSettings, topic: Topic, told: Callable[[int], None] = lambda _: None
) -> list[LoggedEvent]:
    """Return all that the log keeps of a topic, one partition after the other. Raises LogUnavailable."""
    partitions = list(range(settings.log.partitions))
    reader = open_reader(settings.log, settings.redis, topic, partitions, "reference")
    try:
        found = _read(reader, told)
    finally:
        reader.close()
    return [one for partition in partitions for one in found[partition]]


def events_of(logged: Iterable[LoggedEvent]) -> list[tuple[LoggedEvent, Event]]:
    """Return the records that are events, in the order given."""
    return [(one, one.event) for one in logged if one.event is not None]


def _read(reader: LogReader, told: Callable[[int], None]) -> dict[int, list[LoggedEvent]]:
    at, ends = dict(reader.earliest()), reader.ends()
    found: dict[int, list[LoggedEvent]] = {partition: [] for partition in ends}
    for partition, offset in at.items():
        reader.seek(partition, offset)
    while any(at[partition] < end for partition, end in ends.items()):
        for batch in reader.poll(_AT_ONCE, _WAIT_S):
            at[batch.partition] = batch.next
            found[batch.partition] += [
                LoggedEvent(batch.partition, message.offset, event_of(message.value)) for message in batch.messages
            ]
        told(sum(map(len, found.values())))
    return found


def event_of(raw: bytes) -> Event | None:
    """Return the event that a record holds, None where the schema refuses it."""
    try:
        event = parse_event(orjson.loads(raw), now_ms=_ANY_TIME_MS)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(event, Rejection) else event
