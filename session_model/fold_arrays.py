"""Folding many clicks into many sessions at once: the rules of `session_model.window`, over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
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


LoggedClick = tuple[int, str, str, int, int, int, int]
"""Offset, session id, user id ("" for none), epoch ms, ItemKey, EventKey and EventCode of a click, plain values."""


def logged_click(offset: int, event: EventFields) -> LoggedClick:
    """Return what folding needs of a click. The event must carry an item."""
    assert event.item_id is not None
    keys = item_key(event.item_id), event_key(event.event_id)
    return offset, event.session_id, event.user_id or "", event.ts, *keys, event.code


@dataclass(frozen=True, slots=True)
class ClickArrays:
    """c clicks of several partitions, one partition after the other, each in log order.

    `names` are each partition's sessions, in order of appearance; `session` (c,) is a click's place among all of them.
    Partition p has the clicks from `begins[p]` to `begins[p + 1]`. `user` is (c, 2): where the user's name stands in
    `text`, and how long it is.
    """

    names: Sequence[Sequence[str]]
    begins: Sequence[int]
    session: Numbers
    ts: Numbers
    items: Keys
    events: Keys
    codes: Bytes
    offsets: Numbers
    user: Numbers
    text: bytes

    @classmethod
    def of(cls, parts: Sequence[Sequence[LoggedClick]]) -> Self:
        """Lay the clicks of each partition out as arrays."""
        names: list[list[str]] = []
        session: list[int] = []
        known = 0
        for part in parts:
            places: dict[str, int] = {}
            session += [known + places.setdefault(click[1], len(places)) for click in part]
            names.append(list(places))
            known += len(places)
        columns = zip(*(click for part in parts for click in part), strict=True)
        offsets, _, users, ts, items, events, codes = columns if session else ((),) * 7
        named = [user.encode() for user in users]
        lengths = np.array([len(name) for name in named], np.int64)
        return cls(
            names=names,
            begins=[0, *accumulate(map(len, parts))],
            session=np.array(session, np.int64),
            ts=np.array(ts, np.int64),
            items=np.array(items, np.uint64),
            events=np.array(events, np.uint64),
            codes=np.array(codes, np.uint8),
            offsets=np.array(offsets, np.int64),
            user=np.stack((np.cumsum(lengths) - lengths, lengths), axis=1),
            text=b"".join(named),
        )

    def watermarks(self, before_ms: Sequence[int], now_ms: int) -> tuple[Numbers, list[int]]:
        """Return the watermark before each click, (c,), and after the last of each partition; each stood at `before_ms`
        before its first.

        A watermark is the newest event time, but no later than `now_ms`: a sender whose clock is ahead closes nobody
        else's sessions.
        """
        found, after = np.empty(len(self.ts), np.int64), []
        for part, stood_ms in enumerate(before_ms):
            begin, end = self.begins[part], self.begins[part + 1]
            reached = np.maximum.accumulate(np.append(np.int64(stood_ms), np.minimum(self.ts[begin:end], now_ms)))
            found[begin:end] = reached[:-1]
            after.append(int(reached[-1]))
        return found, after


@dataclass(frozen=True, slots=True)
class FoldedArrays:
    """What became of c clicks, and of the n sessions that they were folded into.

    `outcomes` (c,) are numbers of OUTCOMES. `applied` (n,) is how many clicks a session took. `grew` (n,) says that
    they were added at its window's end and nothing else changed: its state can take so many steps.
    """

    outcomes: Bytes
    applied: Numbers
    grew: Flags


def fold_arrays(clicks: ClickArrays, sessions: SessionArrays, rules: WindowRules, watermarks: Numbers) -> FoldedArrays:
    """Fold clicks into their sessions, in place: windows, times, counts and users, not states.

    `sessions` are those of `clicks.names`, with `clicks.text` at the end of their text.
    """
    count = len(sessions.exists)
    folded = FoldedArrays(np.zeros(len(clicks.ts), np.uint8), np.zeros(count, np.int64), sessions.exists.copy())
    _fold(
        clicks.session,
        clicks.ts,
        clicks.items,
        clicks.events,
        clicks.codes,
        clicks.offsets,
        clicks.user + np.array([len(sessions.text) - len(clicks.text), 0]),
        watermarks,
        rules.max_events,
        rules.idle_gap_ms,
        sessions.exists,
        sessions.numbers,
        sessions.ts,
        sessions.items,
        sessions.events,
        sessions.codes,
        sessions.users,
        folded.outcomes,
        folded.applied,
        folded.grew,
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
    same = 0
    for j in range(held):
        same += events[j] == event
    return same > 0


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
