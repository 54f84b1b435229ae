"""What clicks and impressions count for: every event is kept, and every sum is made anew at the end.

The rules are those of `retrieval.open_sessions` and `retrieval.trends`, for a log whose clicks come in time order but
for repeats. A repeated event counts once, however much later it comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import fsum

from contracts.events import INTEREST, Event, EventCode, tells_of_seen
from contracts.ids import ItemKey, item_key
from replay.reference.log import LoggedEvent
from retrieval.ended_sessions import KEPT_CLICKS, Slot, slot_of
from retrieval.groups import groups_in
from retrieval.trends import ClickOrigin, TrendRules, classify_click, earlier_items

Read = Iterable[tuple[LoggedEvent, Event]]


@dataclass(slots=True)
class PlainItem:
    """Everything that was said of one item: (ts_ms, type) of its clicks, their origins, and of each other item the
    (ts_ms, weight) of the pairs in which it was clicked after and before this one.
    """

    clicks: list[tuple[int, EventCode]] = field(default_factory=list)
    origins: list[int] = field(default_factory=lambda: [0] * len(ClickOrigin))
    after: dict[ItemKey, list[tuple[int, float]]] = field(default_factory=dict)
    before: dict[ItemKey, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def as_of_ms(self) -> int:
        """The time of the newest event."""
        pairs = [ts_ms for held in (self.after, self.before) for times in held.values() for ts_ms, _ in times]
        return max([*(ts_ms for ts_ms, _ in self.clicks), *pairs])

    def counts(self, rules: TrendRules) -> dict[str, float]:
        """Return `popularity`, `recent` and `views` as of the newest event."""
        as_of_ms = self.as_of_ms
        views = [ts_ms for ts_ms, code in self.clicks if code in (EventCode.VIEW, EventCode.LOOK)]
        every = [ts_ms for ts_ms, _ in self.clicks]
        return {
            "popularity": fsum(_faded(as_of_ms - ts_ms, rules.half_life_ms) for ts_ms in every),
            "recent": fsum(_faded(as_of_ms - ts_ms, rules.recent_half_life_ms) for ts_ms in every),
            "views": fsum(_faded(as_of_ms - ts_ms, rules.half_life_ms) for ts_ms in views),
        }

    def pairs(self, rules: TrendRules) -> dict[ItemKey, tuple[float, float, float]]:
        """Return of each other item: clicked after, clicked before, and either of them lately."""
        as_of_ms, slow, fast = self.as_of_ms, rules.half_life_ms, rules.recent_half_life_ms
        found = {}
        for other in {*self.after, *self.before}:
            after, before = self.after.get(other, []), self.before.get(other, [])
            lately = [_faded(as_of_ms - ts_ms, fast) * weight for ts_ms, weight in after]
            lately += [_faded(as_of_ms - ts_ms, fast) * weight * rules.backward for ts_ms, weight in before]
            found[other] = (
                fsum(_faded(as_of_ms - ts_ms, slow) * weight for ts_ms, weight in after),
                fsum(_faded(as_of_ms - ts_ms, slow) * weight for ts_ms, weight in before),
                fsum(lately),
            )
        return found


@dataclass(slots=True)
class PlainVisit:
    """Everything that a session id did. `kept` are the clicks of its session under way that vote when it has ended."""

    seen: set[str] = field(default_factory=set)
    started_ms: int = 0
    clicked_ms: int = 0
    kept: list[ItemKey] = field(default_factory=list)
    taken: list[ItemKey] = field(default_factory=list)
    clicks: dict[ItemKey, list[int]] = field(default_factory=dict)
    shown: dict[ItemKey, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class PlainTrends:
    """Counts of all items and of the groups of visitors, and the sessions that have ended by slot: (started_ms, kept
    clicks, places of what was taken) of each that took it.
    """

    rules: TrendRules
    idle_gap_ms: int
    items: dict[ItemKey, PlainItem] = field(default_factory=dict)
    groups: dict[ItemKey, PlainItem] = field(default_factory=dict)
    visitors: dict[ItemKey, set[str]] = field(default_factory=dict)
    """By group, the sessions that were of it."""
    visits: dict[str, PlainVisit] = field(default_factory=dict)
    ended: dict[Slot, list[tuple[int, list[ItemKey], set[int]]]] = field(default_factory=dict)
    repeats: int = 0

    def read(self, clicks: Read, impressions: Read) -> None:
        """Take all of a log. Which of the two topics comes first makes no difference."""
        for _, event in clicks:
            if event.code in INTEREST and self._is_new(event):
                self._click(event)
        for _, event in impressions:
            if not tells_of_seen(event.request_id, event.context) and self._is_new(event):
                visit = self.visits[event.session_id]
                for item in dict.fromkeys(event.items or ()):
                    visit.shown.setdefault(item_key(item), []).append(event.ts)

    def end_all(self) -> None:
        """End every session."""
        for session_id, visit in self.visits.items():
            self._end(session_id, visit)

    def showings(self) -> dict[ItemKey, tuple[list[int], list[int]]]:
        """Return of each item when it was shown, and when it was clicked where it had been shown.

        A click uses up all impressions of its item before it, and counts if one of them is within the idle gap.
        """
        found: dict[ItemKey, tuple[list[int], list[int]]] = {}
        for visit in self.visits.values():
            for item, shown in visit.shown.items():
                all_shown, all_clicked = found.setdefault(item, ([], []))
                all_shown += shown
                before_ms = -1
                for ts_ms in sorted(visit.clicks.get(item, ())):
                    since_ms = max(before_ms + 1, ts_ms - self.idle_gap_ms)
                    if any(since_ms <= shown_ms <= ts_ms for shown_ms in shown):
                        all_clicked.append(ts_ms)
                    before_ms = ts_ms
        return found

    def shown_counts(self) -> dict[ItemKey, tuple[float, float]]:
        """Return how often each item was shown, and clicked there, as of its newest showing."""
        half_life_ms, found = self.rules.half_life_ms, {}
        for item, (shown, clicked) in self.showings().items():
            as_of_ms = max([*shown, *clicked])
            found[item] = (
                fsum(_faded(as_of_ms - ts_ms, half_life_ms) for ts_ms in shown),
                fsum(_faded(as_of_ms - ts_ms, half_life_ms) for ts_ms in clicked),
            )
        return found

    def _is_new(self, event: Event) -> bool:
        visit = self.visits.setdefault(event.session_id, PlainVisit())
        if event.event_id in visit.seen:
            self.repeats += 1
            return False
        visit.seen.add(event.event_id)
        return True

    def _click(self, event: Event) -> None:
        assert event.item_id is not None
        visit, item = self.visits[event.session_id], item_key(event.item_id)
        if event.ts > visit.clicked_ms + self.idle_gap_ms:
            self._end(event.session_id, visit)
        if not visit.kept:
            visit.started_ms = visit.clicked_ms = event.ts
        here = self.items.setdefault(item, PlainItem())
        here.clicks.append((event.ts, event.code))
        here.origins[classify_click(visit.kept, item)] += 1
        for distance, earlier in enumerate(earlier_items(visit.kept, item, self.rules), 1):
            here.before.setdefault(earlier, []).append((event.ts, 1 / distance))
            there = self.items.setdefault(earlier, PlainItem())
            there.after.setdefault(item, []).append((event.ts, 1 / distance))
        for group in groups_in(event.context):
            ours = self.groups.setdefault(group, PlainItem())
            ours.clicks.append((event.ts, event.code))
            ours.after.setdefault(item, []).append((event.ts, 1.0))
            self.visitors.setdefault(group, set()).add(event.session_id)
        visit.clicked_ms = max(visit.clicked_ms, event.ts)
        visit.clicks.setdefault(item, []).append(event.ts)
        if visit.kept[-1:] != [item]:
            visit.kept = [*visit.kept, item][-KEPT_CLICKS:]
        if event.code in (EventCode.CART, EventCode.PURCHASE) and item not in visit.taken:
            visit.taken = [*visit.taken, item][-KEPT_CLICKS:]

    def _end(self, session_id: str, visit: PlainVisit) -> None:
        if len(visit.kept) > 1:
            slot = slot_of(session_id, visit.started_ms, self.rules.sessions)
            taken = {at for at, item in enumerate(visit.kept) if item in visit.taken}
            self.ended.setdefault(slot, []).append((visit.started_ms, visit.kept, taken))
        visit.kept, visit.taken = [], []


def _faded(age_ms: int, half_life_ms: float) -> float:
    return float(2.0 ** (-age_ms / half_life_ms))
