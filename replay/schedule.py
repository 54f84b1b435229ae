"""From a recorded log to a schedule: what to send, when, and under which ids and times. Lazy and pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

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
    with `rename_sessions` session ids do too, so that it starts with fresh visitors. `time` `live` gives each event
    the moment at which it is due; `recorded` leaves its own.
    """

    run: str
    time: Literal["live", "recorded"] = "live"
    rename_sessions: bool = True


def schedule(
    recorded: Iterable[bytes], pace: Pace, rewriting: Rewriting, *, start_ms: int, limit: int | None = None
) -> Iterator[Planned]:
    """Plan recorded events, which come in time order. `start_ms` is the epoch time at which the run starts."""
    first_ms: int | None = None
    prefix = f"{rewriting.run}-"
    live, rename = rewriting.time == "live", rewriting.rename_sessions
    for index, raw in enumerate(recorded):
        if limit is not None and index >= limit:
            return
        fields = orjson.loads(raw)
        ts_ms = fields["ts"]
        if first_ms is None:
            first_ms = ts_ms
        offset_s = pace.offset_s(index, ts_ms, first_ms)
        fields["event_id"] = prefix + fields["event_id"]
        if rename:
            fields["session_id"] = prefix + fields["session_id"]
        if live:
            fields["ts"] = start_ms + int(offset_s * 1000)
        yield Planned(index, offset_s, fields["session_id"], fields)
