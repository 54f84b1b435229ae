"""Folding many clicks into many sessions at once: the rules of `session_model.window`, over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from compiled.kernels import inlined, kernel, reads, writes
from contracts.ids import event_key, item_key
from contracts.plain_events import EventFields
from session_model.window import Outcome, WindowRules
from state.session_arrays import CLICKS, EVENTS, LAST, OFFSET, STARTED, Bytes, Flags, Keys, Numbers, SessionArrays

OUTCOMES: Final = (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE)
"""What a number of `FoldedArrays.outcomes` means."""
_APPLIED, _DUPLICATE, _LATE = range(3)


@dataclass(frozen=True, slots=True)
class ClickArrays:
    """c clicks in log order. `session` is each one's place among `names`, the sessions in order of appearance.

    `watermark` is the newest event time before each click; `user` is (c, 2), where the user's name stands in `text`, and
    how long it is.
    """

    names: Sequence[str]
    session: Numbers
    ts: Numbers
    items: Keys
    events: Keys
    codes: Bytes
    offsets: Numbers
    user: Numbers
    text: bytes

    @classmethod
    def of(cls, clicks: Sequence[tuple[int, EventFields]]) -> Self:
        """Lay (offset, event) out as arrays. Every event must carry an item."""
        places: dict[str, int] = {}
        count = len(clicks)
        events = [event for _, event in clicks]
        session = [places.setdefault(event.session_id, len(places)) for event in events]
        users = [event.user_id.encode() if event.user_id else b"" for event in events]
        lengths = np.fromiter(map(len, users), np.int64, count)
        return cls(
            names=list(places),
            session=np.array(session, np.int64),
            ts=np.fromiter((event.ts for event in events), np.int64, count),
            items=np.fromiter((item_key(event.item_id or "") for event in events), np.uint64, count),
            events=np.fromiter((event_key(event.event_id) for event in events), np.uint64, count),
            codes=np.fromiter((event.code for event in events), np.uint8, count),
            offsets=np.fromiter((offset for offset, _ in clicks), np.int64, count),
            user=np.stack((np.cumsum(lengths) - lengths, lengths), axis=1),
            text=b"".join(users),
        )

    def watermarks(self, before_ms: int) -> Numbers:
        """Return the watermark before each click and after the last, (c + 1,), of a partition that stood at
        `before_ms`."""
        return np.maximum.accumulate(np.concatenate((np.array([before_ms], np.int64), self.ts)))


@dataclass(frozen=True, slots=True)
class FoldedArrays:
    """What became of c clicks, and of the n sessions that they were folded into.

    `outcomes` (c,) are numbers of OUTCOMES. `applied` (n,) is how many clicks a session took. `grew` (n,) says that they
    were added at its window's end and nothing else changed: its state can take so many steps.
    """

    outcomes: Bytes
    applied: Numbers
    grew: Flags


def fold_arrays(clicks: ClickArrays, sessions: SessionArrays, rules: WindowRules, watermark_ms: int) -> FoldedArrays:
    """Fold clicks, in log order, into their sessions, in place: windows, times, counts and users, not states.

    `sessions` are those of `clicks.names`, with `clicks.text` at the end of their text.
    """
    count = len(sessions.exists)
    folded = FoldedArrays(np.zeros(len(clicks.ts), np.uint8), np.zeros(count, np.int64), sessions.exists.copy())
    user = clicks.user + np.array([len(sessions.text) - len(clicks.text), 0])
    _fold(
        *(clicks.session, clicks.ts, clicks.items, clicks.events, clicks.codes, clicks.offsets, user),
        *(clicks.watermarks(watermark_ms), rules.max_events, rules.idle_gap_ms),
        *(sessions.exists, sessions.numbers, sessions.ts, sessions.items, sessions.events, sessions.codes),
        *(sessions.users, folded.outcomes, folded.applied, folded.grew),
    )
    folded.grew[folded.applied > rules.max_events] = False
    return folded


@kernel(
    *(reads("i8"), reads("i8"), reads("u8"), reads("u8"), reads("u1"), reads("i8"), reads("i8", 2), reads("i8")),
    *("i8", "i8", writes("b1"), writes("i8", 2), writes("i8", 2), writes("u8", 2), writes("u8", 2), writes("u1", 2)),
    *(writes("i8", 2), writes("u1"), writes("i8"), writes("b1")),
)
def _fold(
    session: Numbers,
    ts: Numbers,
    items: Keys,
    events: Keys,
    codes: Bytes,
    offsets: Numbers,
    user: Numbers,
    watermarks: Numbers,
    max_events: int,
    gap_ms: int,
    exists: Flags,
    numbers: Numbers,
    window_ts: Numbers,
    window_items: Keys,
    window_events: Keys,
    window_codes: Bytes,
    users: Numbers,
    outcomes: Bytes,
    applied: Numbers,
    grew: Flags,
) -> None:
    for c in range(ts.shape[0]):
        i, watermark = session[c], watermarks[c]
        if ts[c] < watermark - gap_ms:
            outcomes[c] = _LATE
            continue
        if not exists[i] or max(watermark, ts[c]) > numbers[i, LAST] + gap_ms:
            exists[i], grew[i] = True, False
            numbers[i, STARTED], numbers[i, LAST] = ts[c], ts[c]
            numbers[i, EVENTS], numbers[i, OFFSET], numbers[i, CLICKS] = 0, -1, 0
            users[i, 0], users[i, 1] = 0, 0
        held = numbers[i, CLICKS]
        if _holds(window_events[i], held, events[c]):
            outcomes[c] = _DUPLICATE
            continue
        place = _place(window_ts[i], window_events[i], held, ts[c], events[c])
        if place == 0 and held >= max_events:
            outcomes[c] = _LATE
            continue
        if place < held:
            grew[i] = False
        gone = 1 if held >= max_events else 0  # the oldest, to whose place the others move down
        if gone:
            for j in range(place - 1):
                _move(window_ts[i], window_items[i], window_events[i], window_codes[i], j + 1, j)
        else:
            for j in range(held, place, -1):
                _move(window_ts[i], window_items[i], window_events[i], window_codes[i], j - 1, j)
        at = place - gone
        window_ts[i, at], window_items[i, at] = ts[c], items[c]
        window_events[i, at], window_codes[i, at] = events[c], codes[c]
        numbers[i, CLICKS] = held + 1 - gone
        numbers[i, LAST] = max(numbers[i, LAST], ts[c])
        numbers[i, EVENTS] += 1
        numbers[i, OFFSET] = max(numbers[i, OFFSET], offsets[c])
        if user[c, 1]:
            users[i, 0], users[i, 1] = user[c, 0], user[c, 1]
        applied[i] += 1


@inlined
def _holds(events: Keys, held: int, event: int) -> bool:
    for j in range(held - 1, -1, -1):
        if events[j] == event:
            return True
    return False


@inlined
def _place(ts: Numbers, events: Keys, held: int, at_ms: int, event: int) -> int:
    """Return how many clicks of a window sort before one of this time and event."""
    place = held
    while place > 0 and (ts[place - 1] > at_ms or (ts[place - 1] == at_ms and events[place - 1] >= event)):
        place -= 1
    return place


@inlined
def _move(ts: Numbers, items: Keys, events: Keys, codes: Bytes, start: int, to: int) -> None:
    ts[to], items[to], events[to], codes[to] = ts[start], items[start], events[start], codes[start]
