"""Session windows: which clicks a session holds. Pure rules, shared by the stream and the gateway.

Clicks of a window are ordered by (time, event key), so any order of arrival gives the same window. The watermark
is the newest event time that a partition has seen before the click. Four rules decide, in this order:

1. older than the watermark less the idle gap: LATE, whatever session it names has closed;
2. no session, a session that the watermark has closed, or a click later than the idle gap after its last one: a
   new session starts;
3. its event key is in the window: DUPLICATE;
4. the window is full and the click sorts before its oldest: LATE.

A click that was let go of by a full window, or that belonged to a session which has closed, can only come back as
LATE, so the window alone recognises every duplicate for as long as the session's view lives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from contracts.ids import event_key, item_key
from contracts.plain_events import EventFields
from contracts.sessions import CLICK, Session

_NO_EMBEDDING = np.empty(0, np.float32)

Click = tuple[int, int, int, int]
"""(ts_ms, ItemKey, EventKey, EventCode): one CLICK as plain numbers."""


class Outcome(Enum):
    """What became of a click. The value is the name under which it is counted."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class WindowRules:
    """`max_events` clicks are kept; a session ends after `idle_gap_ms` without one."""

    max_events: int = 50
    idle_gap_ms: int = 30 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A click on its way into a session: where it stood in the log, and the watermark just before it."""

    session_id: str
    user_id: str | None
    click: Click
    offset: int
    watermark_ms: int


@dataclass(frozen=True, slots=True)
class Folded:
    """A session after some arrivals, and what became of each.

    `session` is None when there was none and every arrival was late; its embedding is still that of before.
    `appended` is how many clicks were added at the window's end and nothing else changed: the embedding can take
    that many steps. None means that it has to be encoded again.
    """

    session: Session | None
    outcomes: tuple[Outcome, ...]
    appended: int | None


def click_of(event: EventFields) -> Click:
    """Return a click's numbers. The event must carry an item (impressions don't)."""
    assert event.item_id is not None
    return event.ts, item_key(event.item_id), event_key(event.event_id), int(event.code)


def fold(before: Session | None, arrivals: Sequence[Arrival], rules: WindowRules) -> Folded:
    """Fold arrivals of one session, in log order, into it. All arrivals carry the session's id."""
    session = _Open.of(before) if before is not None else None
    fresh, inserted, appended, outcomes = False, False, 0, []
    for arrival in arrivals:
        ts, _, event, _ = arrival.click
        if ts < arrival.watermark_ms - rules.idle_gap_ms:
            outcomes.append(Outcome.LATE)
            continue
        if session is None or max(arrival.watermark_ms, ts) > session.last_ms + rules.idle_gap_ms:
            session, fresh = _Open(arrival.user_id, ts, ts, 0, -1, [], set()), True
        elif event in session.event_keys:
            outcomes.append(Outcome.DUPLICATE)
            continue
        place = bisect_left(session.clicks, (ts, event), key=_order)
        if place == 0 and len(session.clicks) >= rules.max_events:
            outcomes.append(Outcome.LATE)
            continue
        inserted |= place < len(session.clicks)
        session.take(arrival, place, rules.max_events)
        appended += 1
        outcomes.append(Outcome.APPLIED)
    if session is None or appended == 0:
        return Folded(before, tuple(outcomes), 0)
    after = session.close(arrivals[0].session_id, before)
    grew = not fresh and not inserted and appended <= rules.max_events
    return Folded(after, tuple(outcomes), appended if grew else None)


def _order(click: Click) -> tuple[int, int]:
    return click[0], click[2]


@dataclass(slots=True)
class _Open:
    """A session while clicks are folded into it."""

    user_id: str | None
    started_ms: int
    last_ms: int
    events: int
    last_offset: int
    clicks: list[Click]
    event_keys: set[int]

    @classmethod
    def of(cls, session: Session) -> _Open:
        clicks: list[Click] = session.window.tolist()
        keys = {click[2] for click in clicks}
        return cls(
            session.user_id, session.started_ms, session.last_ms, session.events, session.last_offset, clicks, keys
        )

    def take(self, arrival: Arrival, place: int, max_events: int) -> None:
        self.clicks.insert(place, arrival.click)
        self.event_keys.add(arrival.click[2])
        if len(self.clicks) > max_events:
            self.event_keys.discard(self.clicks.pop(0)[2])
        self.user_id = arrival.user_id or self.user_id
        self.last_ms = max(self.last_ms, arrival.click[0])
        self.last_offset = max(self.last_offset, arrival.offset)
        self.events += 1

    def close(self, session_id: str, before: Session | None) -> Session:
        return Session(
            session_id=session_id,
            user_id=self.user_id,
            started_ms=self.started_ms,
            last_ms=self.last_ms,
            events=self.events,
            last_offset=self.last_offset,
            window=np.array(self.clicks, CLICK),
            embedding=before.embedding if before is not None else _NO_EMBEDDING,
            model_version=before.model_version if before is not None else 0,
            incomplete=before.incomplete if before is not None else False,
        )
