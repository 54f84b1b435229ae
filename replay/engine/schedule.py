"""From a recorded log to a schedule: what to send, when, and under which ids and times. Lazy and pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import xxhash

from contracts.errors import ImportFormatError
from contracts.events import INTEREST, code_of
from contracts.nesting import DEEPEST, deeper_than
from replay.engine.choices import Times
from replay.engine.clone import Clones, Recorded, cloned
from replay.engine.pacer import Pace


@dataclass(frozen=True, slots=True)
class Planned:
    """One event of the schedule. `index` is its place in the recording (see Recorded), `fields` what is sent."""

    index: int
    offset_s: float
    session_id: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """The page that a session is on: what opened it, and the token of that event, when the target gave one."""

    token: str | None
    type: str
    item_id: str | None


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
    """Return the item that an event shows interest in, None for an impression, a `hide` and the like."""
    code = code_of(str(fields.get("type")), fields.get("value"), fields.get("context"))
    return fields.get("item_id") if code in INTEREST else None


@dataclass(frozen=True, slots=True)
class Share:
    """The sessions of one of several workers: `number` of `workers`, by a hash of the session id."""

    number: int = 0
    workers: int = 1

    def has(self, session_id: str) -> bool:
        return self.workers == 1 or xxhash.xxh3_64_intdigest(session_id.encode()) % self.workers == self.number


def recorded_events(lines: Iterable[bytes]) -> Iterator[Recorded]:
    """Read recorded events, which come in time order.

    Raises ImportFormatError for an event that is not JSON or lacks ts, event_id or session_id, or is nested too deep to
    be sent.
    """
    for place, raw in enumerate(lines):
        try:
            fields = orjson.loads(raw)
            ts_ms, event_id, session_id = fields["ts"], fields["event_id"], fields["session_id"]
            if type(ts_ms) is not int or not isinstance(event_id, str) or not isinstance(session_id, str):
                raise ValueError("expected a whole number as ts, texts as event_id and session_id")
            if raw.count(b"{") + raw.count(b"[") > DEEPEST and deeper_than(fields, DEEPEST):
                raise ValueError(f"expected fields nested at most {DEEPEST} deep: they could not be sent")
        except (ValueError, KeyError, TypeError) as error:
            raise ImportFormatError(
                f"event {place + 1} of the recording cannot be played ({error!r}): {raw[:80]!r}"
            ) from error
        yield Recorded(place, ts_ms, session_id, fields)


def schedule(
    recorded: Iterable[bytes],
    pace: Pace,
    rewriting: Rewriting,
    *,
    start_ms: int,
    limit: int | None = None,
    clones: Clones | None = None,
    share: Share | None = None,
) -> Iterator[Planned]:
    """Plan recorded events, which come in time order. `start_ms` is the epoch time at which the run starts.

    `limit` counts events of all workers, clones included. Raises ImportFormatError for an event that cannot be played.
    """
    clones, share = clones or Clones(), share or Share()
    first_ms: int | None = None
    prefix = f"{rewriting.run}-"
    live, rename = rewriting.time is Times.LIVE, rewriting.rename_sessions
    for index, event in enumerate(islice(cloned(recorded_events(recorded), clones), limit)):
        if first_ms is None:
            first_ms = event.ts_ms
        if not share.has(event.session_id):
            continue
        fields, session_id = event.fields, event.session_id
        offset_s = pace.offset_s(index, event.ts_ms, first_ms)
        fields["event_id"] = prefix + fields["event_id"]
        if rename:
            session_id = fields["session_id"] = prefix + session_id
        if live:
            fields["ts"] = start_ms + int(offset_s * 1000)
        yield Planned(event.place, offset_s, session_id, fields)
