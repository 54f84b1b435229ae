"""What the trends flow does: events to sessions, sessions to items, items to rows. No Bytewax, no IO here.

State is keyed: a `SessionTrace` a session, an `ItemTally` an item. Both are mutable, and copied when they are saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, Self

from contracts.codec import EndedSession, encode_ended, encode_trend
from contracts.events import EventCode, Rejection, decode_event
from contracts.ids import EventKey, ItemKey, event_key, item_key
from contracts.items import ItemSeen
from eventlog.contract import Batch, DeadLetter
from flows.read_record import read_record
from retrieval.ended_sessions import Slot, ended_session, keep_click, keep_last, slot_of
from retrieval.trends import Came, TrendAccumulator, TrendRules, how_it_came, session_pairs

_CHECK_SESSION_MS = 60_000
_CHECK_ITEM_MS = 600_000
_CLICKED_KEPT = 50
_SHOWN_KEPT = 300
_EVENTS_KEPT = 100


class Seen(NamedTuple):
    """What trends need of one event. A click has one item, and its id; an impression has those shown."""

    event: EventKey
    ts_ms: int
    items: tuple[ItemKey, ...]
    item_id: str | None
    code: EventCode


class Update(NamedTuple):
    """What one event says of one item: it was clicked (`code`, and how that `came` about), shown, shown and clicked, or
    clicked in one session with others, which came `after` it or `before` it, each with its weight.
    """

    ts_ms: int
    code: EventCode | None = None
    item_id: str | None = None
    shown: bool = False
    shown_and_clicked: bool = False
    after: tuple[tuple[ItemKey, float], ...] = ()
    before: tuple[tuple[ItemKey, float], ...] = ()
    came: Came = Came.FIRST


LeaveOut = Callable[[Seen | Update, Exception], None]
"""Told of what could not be taken, and what it raised."""


def raise_again(_: Seen | Update, error: Exception) -> None:
    raise error


class TrendRow(NamedTuple):
    """An item's row of the trends table, encoded; None deletes it."""

    row: bytes | None


class SessionRow(NamedTuple):
    """The row of the ended-sessions table that a session becomes when it is over, encoded."""

    slot: Slot
    row: bytes

    @classmethod
    def of(cls, session_id: str, session: EndedSession, rules: TrendRules) -> Self:
        return cls(slot_of(session_id, session.started_ms, rules.sessions), encode_ended(session))


Said = tuple[ItemKey, Update] | EndedSession
"""What a session says: something of an item, or what is kept of it because it is over."""


class Watermark:
    """The newest event time that this process has read."""

    def __init__(self) -> None:
        self.latest_ms = 0

    def observe(self, ts_ms: int) -> None:
        self.latest_ms = max(self.latest_ms, ts_ms)


def decode_seen(
    batch: Batch, *, now_ms: int, max_future_ms: int
) -> tuple[list[tuple[str, Seen]], Sequence[DeadLetter]]:
    """Decode a batch into (session id, event), and what could not be read as dead letters."""
    decode = partial(decode_event, now_ms=now_ms, max_future_ms=max_future_ms)
    seen: list[tuple[str, Seen]] = []
    rejected: list[DeadLetter] = []
    for message in batch.messages:
        event = read_record(decode, message.value)
        if isinstance(event, Rejection):
            rejected.append(batch.letter(message.offset, message.value, event, now_ms=now_ms))
            continue
        shown = tuple(item_key(item) for item in dict.fromkeys(event.items or ())) if event.is_impression else ()
        item_id = None if event.is_impression else event.item_id
        items = shown if item_id is None else (item_key(item_id),)
        seen.append((event.session_id, Seen(event_key(event.event_id), event.ts, items, item_id, event.code)))
    return seen, rejected


@dataclass(slots=True)
class SessionTrace:
    """What trends still need of one session.

    `trail`: its kept clicks (`retrieval.ended_sessions.keep_click`), newest last, since `started_ms`, its first.
    `clicked`, `shown`: when a click without its showing, and a showing without its click, happened; whichever of the
    two topics is read first, they meet. `events`: the last event keys, so that a repeated event counts once.
    """

    started_ms: int = 0
    clicked_ms: int = 0
    last_ms: int = 0
    touched_ms: int = 0
    trail: list[ItemKey] = field(default_factory=list)
    clicked: dict[ItemKey, int] = field(default_factory=dict)
    shown: dict[ItemKey, int] = field(default_factory=dict)
    events: dict[EventKey, None] = field(default_factory=dict)

    def take(
        self,
        seen: Sequence[Seen],
        *,
        rules: TrendRules,
        idle_gap_ms: int,
        now_ms: int,
        leave_out: LeaveOut = raise_again,
    ) -> list[Said]:
        """Fold events in; returns what they say. `leave_out` is told of one that cannot be folded in."""
        self.touched_ms = now_ms
        updates: list[Said] = []
        for event in seen:
            try:
                if event.event not in self.events:
                    self._take(event, rules, idle_gap_ms, updates)
            except Exception as error:
                leave_out(event, error)
        return updates

    def _take(self, event: Seen, rules: TrendRules, idle_gap_ms: int, updates: list[Said]) -> None:
        if self.last_ms and event.ts_ms > self.last_ms + idle_gap_ms:
            self.clicked, self.shown = {}, {}
        if event.item_id is not None:
            if self.trail and event.ts_ms > self.clicked_ms + idle_gap_ms:  # as sessions go: by clicks alone
                updates.extend(self.ended())
                self.trail = []
            self.clicked_ms = max(self.clicked_ms, event.ts_ms)
        self.last_ms = max(self.last_ms, event.ts_ms)
        keep_last(self.events, event.event, None, _EVENTS_KEPT)
        updates.extend(self._click(event, rules) if event.item_id is not None else self._impression(event))

    def _click(self, event: Seen, rules: TrendRules) -> list[tuple[ItemKey, Update]]:
        item = event.items[0]
        if not self.trail:
            self.started_ms = event.ts_ms
        mine: list[tuple[ItemKey, float]] = []
        updates: list[tuple[ItemKey, Update]] = []
        for pair in session_pairs(self.trail, item, rules):
            if pair.after:
                updates.append((pair.looked_up, Update(event.ts_ms, after=((pair.suggested, pair.weight),))))
            else:
                mine.append((pair.suggested, pair.weight))
        met = self.shown.get(item, event.ts_ms + 1) <= event.ts_ms
        if met:
            del self.shown[item]
        else:
            keep_last(self.clicked, item, event.ts_ms, _CLICKED_KEPT)
        came = how_it_came(self.trail, item)
        keep_click(self.trail, item)
        click = Update(event.ts_ms, event.code, event.item_id, shown_and_clicked=met, before=tuple(mine), came=came)
        return [(item, click), *updates]

    def _impression(self, event: Seen) -> list[tuple[ItemKey, Update]]:
        updates: list[tuple[ItemKey, Update]] = []
        for item in event.items:
            met = self.clicked.get(item, -1) >= event.ts_ms
            if met:
                del self.clicked[item]
            else:
                keep_last(self.shown, item, event.ts_ms, _SHOWN_KEPT)
            updates.append((item, Update(event.ts_ms, shown=True, shown_and_clicked=met)))
        return updates

    def is_over(self, *, idle_gap_ms: int, now_ms: int, watermark_ms: int) -> bool:
        """Say whether nothing can join the session any more, by event time or, in a quiet log, by the clock."""
        return watermark_ms > self.last_ms + idle_gap_ms or now_ms >= self.touched_ms + idle_gap_ms

    def ended(self) -> list[Said]:
        """Return what is kept of the session, which is over; nothing where it says nothing."""
        kept = ended_session(self.started_ms, self.trail)
        return [kept] if kept is not None else []

    def wake_ms(self, now_ms: int) -> int:
        """Return when to ask `is_over` again."""
        return now_ms + _CHECK_SESSION_MS

    def copy(self) -> SessionTrace:
        return replace(
            self,
            trail=list(self.trail),
            clicked=dict(self.clicked),
            shown=dict(self.shown),
            events=dict(self.events),
        )


@dataclass(slots=True)
class ItemTally:
    """One item's counters, and when they were last written. `unwritten` says that they have moved since."""

    counts: TrendAccumulator
    touched_ms: int = 0
    written_ms: int = -1_000_000_000
    unwritten: bool = False
    announced: bool = False

    def take(
        self, updates: Sequence[Update], *, now_ms: int, emit_interval_ms: int, leave_out: LeaveOut = raise_again
    ) -> list[TrendRow | ItemSeen]:
        """Count; returns the row if it is due, and the item itself at its first click. `leave_out` is told of what
        cannot be counted."""
        out: list[TrendRow | ItemSeen] = []
        for update in updates:
            try:
                self._count(update)
                if update.item_id is not None and not self.announced:
                    self.announced = True
                    out.append(ItemSeen(item_id=update.item_id, ts=update.ts_ms))
            except Exception as error:
                leave_out(update, error)
        self.touched_ms, self.unwritten = now_ms, True
        if now_ms >= self.written_ms + emit_interval_ms:
            out.extend(self.write(now_ms))
        return out

    def _count(self, update: Update) -> None:
        if update.code is not None:
            self.counts.click(update.ts_ms, update.code, came=update.came)
        if update.shown:
            self.counts.impression(update.ts_ms)
        if update.shown_and_clicked:
            self.counts.clicked_impression(update.ts_ms)
        for other, weight in update.after:
            self.counts.pair(other, weight, update.ts_ms, after=True)
        for other, weight in update.before:
            self.counts.pair(other, weight, update.ts_ms, after=False)

    def write(self, now_ms: int) -> list[TrendRow | ItemSeen]:
        """Return the row if it has moved since it was last written."""
        if not self.unwritten:
            return []
        self.unwritten, self.written_ms = False, now_ms
        return [TrendRow(encode_trend(self.counts.snapshot(self.counts.last_ms)))]

    def is_forgotten(self, *, forget_after_ms: int, now_ms: int, watermark_ms: int) -> bool:
        """Say whether the item has been quiet for so long that it may go, by event time or by the clock."""
        if self.unwritten:
            return False
        return watermark_ms > self.counts.last_ms + forget_after_ms or now_ms >= self.touched_ms + forget_after_ms

    def wake_ms(self, now_ms: int, *, emit_interval_ms: int) -> int:
        """Return when to write, or to ask `is_forgotten`, again."""
        return self.written_ms + emit_interval_ms if self.unwritten else now_ms + _CHECK_ITEM_MS

    def copy(self) -> ItemTally:
        pairs = dict(self.counts.pairs) if self.counts.pairs is not None else None
        return replace(self, counts=replace(self.counts, pairs=pairs, came=list(self.counts.came)))
