"""Open sessions: what each of their events counts for, and what is kept of a session when it ends.

The trends flow holds an `OpenSessions` for each partition of the log, training one for all, and both hand it every
click and every impression. It is pure: no clock, no IO. Its rules:

- Events without interest in their item (`contracts.events.INTEREST`), such as a `hide`, count for nothing. Nor does an
  impression that tells what of an answer was in view: the gateway's own has counted as its showing.
- A repeated event counts once, for as long as the session flow would know it: see below.
- A session ends after the idle gap without a click. Impressions do not prolong it, as they do not in
  `session_model.window`.
- A click is late when it is older than the idle gap before the session's newest click: the session that it belonged to
  has ended. It counts for its item as a session of one click, and neither joins the session nor pairs with it.
- An impression of an item is clicked when the session clicks the item within the idle gap after it. A click uses up all
  impressions of the item before it, so it counts as one clicked impression at most. It counts at the time of the click.
  Clicks and impressions are topics of their own: it makes no difference which of the two is read first.

An event is repeated when it is among the session's last 100 of its topic. One that is older than these cannot be told
from a repeat: it does not count, as it does not join a full window in `session_model.window`. Nor does an event whose
session was let go, or may have been, unless it is the newest of its topic. The sessions flow calls such clicks late. So
nothing counts twice, however much later it comes, and what is kept for it is 100 keys with their times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Final, NamedTuple, Self

from contracts.codec import EndedSession
from contracts.events import INTEREST, EventCode, tells_of_seen
from contracts.ids import EventKey, ItemKey, event_key, item_key
from contracts.plain_events import EventFields
from contracts.plausible import LAST_MS
from retrieval.ended_sessions import KEPT_CLICKS, Slot, ended_session, keep_click, keep_last, slot_of
from retrieval.groups import Groups, groups_in
from retrieval.showings import Showings
from retrieval.trends import CountedClick, TrendRules, classify_click, earlier_items, visitor_of

_TAKEN: Final = (EventCode.CART, EventCode.PURCHASE)
_EVENTS_KEPT: Final = 100
_OF_ONE_TIME: Final = 4096
Stamp = tuple[int, EventKey]
"""Time and key of an event."""
_NOTHING: Final[Stamp] = (-1, EventKey(0))
_CLICKED_KEPT: Final = 50
_SHOWN_KEPT: Final = 300
_TIMES_KEPT: Final = 8
_BYTES, _EVENT_BYTES, _ITEM_BYTES = 800, 150, 200
"""About what a session, one of its events, and one of the items that it clicked or was shown take in memory: 1.2 KB
with one click, 2.4 with five, 8 with twenty (CPython 3.11, measured with tracemalloc).
"""


class TrendEvent(NamedTuple):
    """What counting needs of one event. A click has one item, its id, and the groups that its visitor is of; an
    impression has the items shown, each once; one that tells what of an answer was seen has none.
    """

    event: EventKey
    ts_ms: int
    items: tuple[ItemKey, ...]
    item_id: str | None
    code: EventCode
    groups: Groups = ()

    @classmethod
    def of(cls, event: EventFields) -> Self:
        if event.is_impression:
            again = tells_of_seen(event.request_id, event.context)
            shown = () if again else tuple(item_key(item) for item in dict.fromkeys(event.items or ()))
            return cls(event_key(event.event_id), event.ts, shown, None, event.code)
        assert event.item_id is not None
        groups = () if event.context is None else groups_in(event.context)
        return cls(event_key(event.event_id), event.ts, (item_key(event.item_id),), event.item_id, event.code, groups)


SessionOutput = CountedClick | Showings | EndedSession
"""What comes of a session's events: a click and what it counts for, what was shown, or what is kept of the session
because it has ended.
"""


LeaveOut = Callable[[TrendEvent, Exception], None]
"""Told of what could not be counted, and what it raised."""


def raise_again(_: TrendEvent, error: Exception) -> None:
    """Leave nothing out."""
    raise error


@dataclass(slots=True)
class Recognised:
    """Keys of a session's last events of one topic, with their times, as they came: repeats are recognised by them.

    `gone_ms` is the newest time that is no longer among them; `gone` are the keys of that very millisecond: thousands
    of clicks may carry one time.
    """

    kept: dict[EventKey, int] = field(default_factory=dict)
    gone_ms: int = -1
    gone: set[EventKey] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.kept)

    def is_repeated(self, key: EventKey, ts_ms: int) -> bool:
        """Tell whether the event has been there, as far as that can be told; it is remembered if not."""
        if key in self.kept or ts_ms < self.gone_ms:
            return True
        if ts_ms == self.gone_ms and (key in self.gone or len(self.gone) >= _OF_ONE_TIME):
            return True
        if len(self.kept) >= _EVENTS_KEPT:
            self._let_go()
        self.kept[key] = ts_ms
        return False

    def _let_go(self) -> None:
        oldest = next(iter(self.kept))
        ts_ms = self.kept.pop(oldest)
        if ts_ms > self.gone_ms:
            self.gone_ms, self.gone = ts_ms, set()
        if ts_ms == self.gone_ms:
            self.gone.add(oldest)


@dataclass(slots=True)
class OpenSession:
    """One session, and what counting still needs of it. Mutable, plain Python values.

    `clicks`: its kept clicks (`retrieval.ended_sessions.keep_click`), newest last; the first was at `started_ms`, the
    newest at `clicked_ms`. `last_ms`: its newest event. `shown`: by item, times of the impressions that no click has
    used up. `clicked`: by item, times of clicks, and whether an impression was found for each. `events` and
    `pages` recognise repeated clicks and impressions.
    """

    started_ms: int = 0
    clicked_ms: int = 0
    last_ms: int = 0
    clicks: list[ItemKey] = field(default_factory=list)
    shown: dict[ItemKey, tuple[int, ...]] = field(default_factory=dict)
    clicked: dict[ItemKey, tuple[tuple[int, bool], ...]] = field(default_factory=dict)
    events: Recognised = field(default_factory=Recognised)
    pages: Recognised = field(default_factory=Recognised)
    taken: list[ItemKey] = field(default_factory=list)

    def expect_plausible(self) -> None:
        """Raise ValueError for numbers that no event brings: a saved session may be damaged."""
        times = [at for shown in self.shown.values() for at in shown]
        times += [at for clicked in self.clicked.values() for at, _ in clicked]
        keys: list[int] = [*self.clicks, *self.taken, *self.shown, *self.clicked]
        for one in (self.events, self.pages):
            times += one.kept.values()
            keys += [*one.kept, *one.gone]
        if any(not 0 <= at <= LAST_MS for at in (self.started_ms, self.clicked_ms, self.last_ms, *times)):
            raise ValueError(f"expected epoch milliseconds up to {LAST_MS} in an open session")
        if any(not 0 <= key < 2**64 for key in keys):
            raise ValueError("expected keys of 64 bits in an open session")

    def take(
        self,
        events: Iterable[TrendEvent],
        rules: TrendRules,
        idle_gap_ms: int,
        leave_out: LeaveOut = raise_again,
        visitor: int = 0,
    ) -> list[SessionOutput]:
        """Fold events in, in the order in which they were read, and return what comes of them. `leave_out` is told of
        an event that cannot be folded in; `visitor` stands in the clicks.
        """
        outputs: list[SessionOutput] = []
        for event in events:
            try:
                outputs += self._take(event, rules, idle_gap_ms, visitor)
            except MemoryError:  # not the event's fault: it is counted when it is read again
                raise
            except Exception as error:
                leave_out(event, error)
        return outputs

    def _take(self, event: TrendEvent, rules: TrendRules, idle_gap_ms: int, visitor: int) -> list[SessionOutput]:
        key = event.event
        if self.known(event).is_repeated(key, event.ts_ms):
            return []
        self.last_ms = max(self.last_ms, event.ts_ms)
        if event.item_id is None:
            return self._show(event, idle_gap_ms)
        return self._click(event, rules, idle_gap_ms, visitor)

    def known(self, event: TrendEvent) -> Recognised:
        """Return what recognises repeated events of this one's topic."""
        return self.pages if event.item_id is None else self.events

    def end(self) -> list[EndedSession]:
        """End the session, and return what is kept of it; nothing where it says nothing. A click begins it afresh."""
        kept = ended_session(self.started_ms, self.clicks, self.taken)
        self.clicks, self.taken = [], []
        return [kept] if kept is not None else []

    def end_at(self, watermark_ms: int, idle_gap_ms: int) -> list[EndedSession]:
        """End the session if no click can join it once `watermark_ms`, the newest event time, has been read."""
        return self.end() if self.clicks and watermark_ms > self.clicked_ms + idle_gap_ms else []

    def is_spent(self, watermark_ms: int, idle_gap_ms: int) -> bool:
        """Say whether nothing that comes can meet anything held here any more."""
        return watermark_ms > self.last_ms + idle_gap_ms

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return (
            _BYTES
            + _EVENT_BYTES * (len(self.events) + len(self.pages))
            + _ITEM_BYTES * (len(self.shown) + len(self.clicked))
        )

    @property
    def due_ms(self) -> int:
        """The event time whose idle gap has to pass before `end_at` or `is_spent` changes."""
        return self.clicked_ms if self.clicks else self.last_ms

    def _click(self, event: TrendEvent, rules: TrendRules, idle_gap_ms: int, visitor: int) -> list[SessionOutput]:
        item, ts_ms = event.items[0], event.ts_ms
        ended = self.end_at(ts_ms, idle_gap_ms)
        late = bool(self.clicks) and ts_ms < self.clicked_ms - idle_gap_ms
        previous: Sequence[ItemKey] = () if late else self.clicks
        assert event.item_id is not None
        click = CountedClick(
            ts_ms,
            item,
            event.item_id,
            event.code,
            classify_click(previous, item),
            earlier_items(previous, item, rules),
            visitor,
            event.groups,
        )
        shown = [Showings(ts_ms, (item,), clicked=True)] if self._use_up_impressions(item, ts_ms, idle_gap_ms) else []
        if not late:
            self._keep(item, ts_ms)
            if event.code in _TAKEN and item not in self.taken:
                self.taken = [*self.taken, item][-KEPT_CLICKS:]
        return [*ended, click, *shown]

    def _keep(self, item: ItemKey, ts_ms: int) -> None:
        if not self.clicks:
            self.started_ms = self.clicked_ms = ts_ms
        self.clicked_ms = max(self.clicked_ms, ts_ms)
        keep_click(self.clicks, item)

    def _show(self, event: TrendEvent, idle_gap_ms: int) -> list[SessionOutput]:
        outputs: list[SessionOutput] = [Showings(event.ts_ms, event.items)]
        for item in event.items:
            clicked_ms = self._find_click(item, event.ts_ms, idle_gap_ms)
            if clicked_ms is not None:
                outputs.append(Showings(clicked_ms, (item,), clicked=True))
        return outputs

    def _use_up_impressions(self, item: ItemKey, ts_ms: int, idle_gap_ms: int) -> bool:
        """Say whether a click on the item is a clicked impression, as far as impressions have been read."""
        found = False
        shown = self.shown.pop(item, None)
        if shown is not None:
            found = any(ts_ms - idle_gap_ms <= shown_ms <= ts_ms for shown_ms in shown)
            later = tuple(shown_ms for shown_ms in shown if shown_ms > ts_ms)
            if later:
                keep_last(self.shown, item, later, _SHOWN_KEPT)
        clicks = self.clicked.get(item)
        if clicks is None:
            clicks = ((ts_ms, found),)
        else:  # a stable order: clicks of one moment stay as they were read
            clicks = tuple(sorted((*clicks, (ts_ms, found)), key=itemgetter(0))[-_TIMES_KEPT:])
        keep_last(self.clicked, item, clicks, _CLICKED_KEPT)
        return found

    def _find_click(self, item: ItemKey, shown_ms: int, idle_gap_ms: int) -> int | None:
        """Return the time of the click on this impression, if it was read before it; otherwise the impression waits."""
        clicks = self.clicked.get(item, ())
        for at, (clicked_ms, found) in enumerate(clicks):
            if clicked_ms >= shown_ms:
                if found or clicked_ms > shown_ms + idle_gap_ms:
                    return None
                self.clicked[item] = (*clicks[:at], (clicked_ms, True), *clicks[at + 1 :])
                return clicked_ms
        waiting = (*self.shown.get(item, ()), shown_ms)
        keep_last(self.shown, item, waiting[-_TIMES_KEPT:], _SHOWN_KEPT)
        return None


@dataclass(slots=True)
class ReadUpTo:
    """Up to where sessions have been closed, and the newest click and impression that were taken."""

    closed_ms: int = 0
    click: Stamp = _NOTHING
    page: Stamp = _NOTHING

    def take(self, event: TrendEvent) -> bool:
        """Tell whether the event is the newest of its topic; it is then."""
        stamp = event.ts_ms, event.event
        if event.item_id is None:
            is_newest, self.page = stamp > self.page, max(stamp, self.page)
        else:
            is_newest, self.click = stamp > self.click, max(stamp, self.click)
        return is_newest


class OpenSessions:
    """Open sessions by id, each with when it is due to end. Mutable.

    `clicks`, `showings` and `ended` return what came of the events since they were last called.
    """

    def __init__(
        self,
        rules: TrendRules,
        idle_gap_ms: int,
        sessions: dict[str, OpenSession] | None = None,
        read: ReadUpTo | None = None,
    ) -> None:
        """`read` is what it was when `sessions` were saved."""
        self._rules, self._idle_gap_ms = rules, idle_gap_ms
        self.read = read if read is not None else ReadUpTo()
        self._open = sessions if sessions is not None else {}
        self._size = sum(session.size for session in self._open.values())
        self._due = [(session.due_ms, session_id) for session_id, session in self._open.items()]
        """A heap: for every session an entry that is no later than its `due_ms`."""
        heapify(self._due)
        self._clicks: list[CountedClick] = []
        self._showings: list[Showings] = []
        self._ended: list[tuple[Slot, EndedSession]] = []

    def __len__(self) -> int:
        """How many sessions are held."""
        return len(self._open)

    @property
    def size(self) -> int:
        """About how many bytes of memory the sessions take."""
        return self._size

    @property
    def sessions(self) -> dict[str, OpenSession]:
        """The sessions that are held, by id."""
        return self._open

    def take(self, events: Iterable[tuple[str, TrendEvent]], leave_out: LeaveOut = raise_again) -> None:
        """Fold events (session id, event) of any sessions in, in the order in which they were read. A click that begins
        a session afresh ends the one before it. `leave_out` is told of an event that cannot be folded in.
        """
        for session_id, event in events:
            if event.code not in INTEREST if event.item_id is not None else not event.items:
                continue
            is_newest, session = self.read.take(event), self._open.get(session_id)
            known = session.known(event) if session is not None else None
            if not known and not is_newest and event.ts_ms + self._idle_gap_ms < self.read.closed_ms:
                continue  # its session may have been let go, with what it knew of repeats
            if session is None:
                session = self._open[session_id] = OpenSession()
                self._size += session.size
                heappush(self._due, (event.ts_ms, session_id))
            if not known:  # one of this name may have been let go: what is older was there
                before_ms = min(event.ts_ms, self.read.closed_ms - self._idle_gap_ms)
                session.known(event).gone_ms = max(session.known(event).gone_ms, before_ms)
            due_ms, size = session.due_ms, session.size
            visitor = visitor_of(session_id)
            for output in session.take((event,), self._rules, self._idle_gap_ms, leave_out, visitor):
                self._hand_out(session_id, output)
            self._size += session.size - size
            if session.due_ms < due_ms:  # by its first click, after impressions
                heappush(self._due, (session.due_ms, session_id))

    def drop(self, session_ids: Iterable[str]) -> None:
        """Let go of sessions whose clicks are to say nothing more: they do not end as others do."""
        for session_id in session_ids:
            session = self._open.pop(session_id, None)
            if session is not None:
                self._size -= session.size

    def close(self, watermark_ms: int) -> None:
        """End the sessions that no click can join once `watermark_ms`, the newest event time, has been read, and let go
        of those that are spent.
        """
        self.read.closed_ms = max(self.read.closed_ms, watermark_ms)
        while self._due and watermark_ms > self._due[0][0] + self._idle_gap_ms:
            looked_at_ms, session_id = heappop(self._due)
            session = self._open.get(session_id)
            if session is None:
                continue
            if session.due_ms <= looked_at_ms:
                for ended in session.end_at(watermark_ms, self._idle_gap_ms):
                    self._hand_out(session_id, ended)
                if session.is_spent(watermark_ms, self._idle_gap_ms):
                    self._size -= self._open.pop(session_id).size
                    continue
            heappush(self._due, (session.due_ms, session_id))

    def bound(self, most_bytes: int) -> int:
        """End sessions until they take no more memory than this, those whose newest click is the oldest first; returns
        how many. What comes of such a session later begins it afresh.
        """
        ended = 0
        while self._size > most_bytes and self._due:
            looked_at_ms, session_id = heappop(self._due)
            session = self._open.get(session_id)
            if session is None:
                continue
            if session.due_ms > looked_at_ms:
                heappush(self._due, (session.due_ms, session_id))
                continue
            size = session.size
            for kept in session.end():
                self._hand_out(session_id, kept)
            self._size -= size
            del self._open[session_id]
            ended += 1
        return ended

    def clicks(self) -> list[CountedClick]:
        """Return the clicks that count, each with what it counts for."""
        clicks, self._clicks = self._clicks, []
        return clicks

    def showings(self) -> list[Showings]:
        """Return what was shown, and clicked where it was shown."""
        showings, self._showings = self._showings, []
        return showings

    def ended(self) -> list[tuple[Slot, EndedSession]]:
        """Return what is kept of the sessions that have ended, each with its slot."""
        ended, self._ended = self._ended, []
        return ended

    def _hand_out(self, session_id: str, output: SessionOutput) -> None:
        if isinstance(output, CountedClick):
            self._clicks.append(output)
        elif isinstance(output, Showings):
            self._showings.append(output)
        else:
            self._ended.append((slot_of(session_id, output.started_ms, self._rules.sessions), output))
