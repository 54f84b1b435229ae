"""Sessions that no human has: by how fast they send, how many items they click, and what their browser calls itself.

The list of crawlers is that of crawler-user-agents, which is kept up to date by those who meet them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeVar

from crawleruseragents import is_crawler

from contracts.plain_events import EventFields
from contracts.quality_settings import QualityOptions

MINUTE_MS: Final = 60_000
RATE, BREADTH, AGENT = "rate", "breadth", "agent"
_LONGEST_AGENT: Final = 512
_ITEMS_A_SESSION: Final = 10
"""That visits hold on average, at most: of more, the idlest visits go."""


@dataclass(frozen=True, slots=True)
class BotRules:
    """From where on a session is no human's. `gap_ms` ends a visit."""

    rate: int
    breadth: int
    agents: bool
    gap_ms: int
    max_sessions: int

    @classmethod
    def of(cls, options: QualityOptions, gap_ms: int) -> BotRules:
        return cls(options.bot_rate, options.bot_breadth, options.bot_agents, gap_ms, options.max_sessions)


@dataclass(slots=True)
class Visit:
    """What is known of a session since its last pause. Mutable."""

    last_ms: int = 0
    minute: int = -1
    in_minute: int = 0
    before: int = 0
    """Events of the minute before, and of all older ones that came late: whose times jump back gains nothing."""
    items: set[str] = field(default_factory=set)
    why: str = ""
    """Why it is no human's; empty while it may be."""

    def count(self, minute: int) -> None:
        if minute == self.minute:
            self.in_minute += 1
        elif minute < self.minute:
            self.before += 1
        else:
            self.before = self.in_minute if minute == self.minute + 1 else 0
            self.minute, self.in_minute = minute, 1


class Visits:
    """The sessions that were active last. Mutable, for one thread; bounded in sessions and in their items."""

    def __init__(self, rules: BotRules) -> None:
        self._rules = rules
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._items = 0

    def __len__(self) -> int:
        return len(self._visits)

    def see(self, event: EventFields) -> str:
        """Take an event in; return why its session is no human's, empty where it may be one's."""
        visit = self._visit(event.session_id, event.ts)
        if visit.why:
            return visit.why
        visit.count(event.ts // MINUTE_MS)
        if event.item_id is not None and event.item_id not in visit.items:
            visit.items.add(event.item_id)
            self._items += 1
        visit.why = self._why(visit, event.context)
        if visit.why:
            self._items -= len(visit.items)
            visit.items = set()
        self._bound()
        return visit.why

    def clear(self) -> None:
        self._visits.clear()
        self._items = 0

    def _visit(self, session_id: str, ts_ms: int) -> Visit:
        visit = self._visits.get(session_id)
        if visit is None:
            visit = self._visits[session_id] = Visit(ts_ms)
        elif ts_ms - visit.last_ms > self._rules.gap_ms:
            self._items -= len(visit.items)
            visit = self._visits[session_id] = Visit(ts_ms)
        visit.last_ms = max(visit.last_ms, ts_ms)
        self._visits.move_to_end(session_id)
        return visit

    def _why(self, visit: Visit, context: Mapping[str, Any] | None) -> str:
        if max(visit.in_minute, visit.before) > self._rules.rate:
            return RATE
        if len(visit.items) > self._rules.breadth:
            return BREADTH
        agent = context.get("user_agent") if self._rules.agents and context else None
        return AGENT if isinstance(agent, str) and agent and is_bot_agent(agent[:_LONGEST_AGENT]) else ""

    def _bound(self) -> None:
        while len(self._visits) > self._rules.max_sessions or self._items > _ITEMS_A_SESSION * max(
            self._rules.max_sessions, self._rules.breadth
        ):
            _, gone = self._visits.popitem(last=False)
            self._items -= len(gone.items)


@lru_cache(maxsize=10_000)
def is_bot_agent(agent: str) -> bool:
    """Say whether a user agent is on the list of crawlers."""
    return bool(is_crawler(agent))


E = TypeVar("E", bound=EventFields)


def bots_in(events: Iterable[EventFields], rules: BotRules) -> dict[str, str]:
    """Return the sessions of a recording that no human has, each with why. Memory is that of `Visits`, and of these."""
    visits, found = Visits(rules), dict[str, str]()
    for event in events:
        if not event.is_impression and (why := visits.see(event)):
            found.setdefault(event.session_id, why)
    return found


def without_bots(read: Callable[[], Iterable[E]], rules: BotRules) -> Iterator[E]:
    """Yield the events of sessions that a human may have; `read` begins a recording, and is called twice."""
    bots = bots_in(read(), rules)
    yield from (event for event in read() if event.session_id not in bots)
