"""From a recorded log to a schedule: what to send, when, and under which ids and times. Lazy and pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.errors import ImportFormatError
from replay.choices import Times
from replay.pacer import Pace


@dataclass(frozen=True, slots=True)
class Planned:
    """One event of the schedule. `index` is its place in the recording, `fields` what is sent."""

    index: int
    offset_s: float
    session_id: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What a run changes in the recorded events.

    Event ids get the run's name in front, so that a second replay is not taken for duplicates of the first;
    with `rename_sessions` session ids do too, so that it starts with fresh visitors.
    """

    run: str
    time: Times = Times.LIVE
    rename_sessions: bool = True


def clicked_item(fields: dict[str, Any]) -> str | None:
    """Return the item that an event is about, None for an impression."""
    return None if fields.get("type") == "impression" else fields.get("item_id")


def schedule(
    recorded: Iterable[bytes], pace: Pace, rewriting: Rewriting, *, start_ms: int, limit: int | None = None
) -> Iterator[Planned]:
    """Plan recorded events, which come in time order. `start_ms` is the epoch time at which the run starts.

    Raises ImportFormatError for an event that is not JSON or lacks ts, event_id or session_id.
    """
    first_ms: int | None = None
    prefix = f"{rewriting.run}-"
    live, rename = rewriting.time is Times.LIVE, rewriting.rename_sessions
    for index, raw in enumerate(recorded):
        if limit is not None and index >= limit:
            return
        try:
            fields = orjson.loads(raw)
            ts_ms, event_id, session_id = fields["ts"], fields["event_id"], fields["session_id"]
        except (ValueError, KeyError, TypeError) as error:
            raise ImportFormatError(
                f"event {index + 1} of the recording cannot be played ({error!r}): {raw[:80]!r}"
            ) from error
        if first_ms is None:
            first_ms = ts_ms
        offset_s = pace.offset_s(index, ts_ms, first_ms)
        fields["event_id"] = prefix + event_id
        if rename:
            session_id = fields["session_id"] = prefix + session_id
        if live:
            fields["ts"] = start_ms + int(offset_s * 1000)
        yield Planned(index, offset_s, session_id, fields)
