"""Counting events by minute: what came, of which type, and what was wrong with it.

A cell is a minute since 1970 and a name. Names are `records` (all that was read), `broken`, `future`, `events`, `late`,
`duplicate`, `clicks` (with an item), `unknown` (of those, on ids that the catalogue has not), `bots` (events of
sessions that no human has), `type.view` ... and `value.13` ... : values of a piece by half powers of two, `value.none`
for 0 and below. Values are counted at the first minute of their hour.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.events import BUILT_IN, Rejection
from contracts.ids import EventKey, event_key
from contracts.plain_events import NO_TYPES, PlainEvent
from contracts.quality_settings import QualityOptions
from quality.bots import MINUTE_MS, BotRules, Visits

Cells = Counter[tuple[int, str]]
"""How many, by minute since 1970 and name."""

RECORDS, BROKEN, FUTURE, EVENTS, LATE = "records", "broken", "future", "events", "late"
DUPLICATE, CLICKS, UNKNOWN, BOTS = "duplicate", "clicks", "unknown", "bots"
TYPE, VALUE, NO_VALUE = "type.", "value.", "value.none"
OTHER: Final = "other"
HOUR_MINUTES: Final = 60
DAY_MINUTES: Final = 24 * HOUR_MINUTES
KEEP_DAYS: Final = 8
_FUTURE_REASONS: Final = frozenset({"future_timestamp", "timestamp_in_seconds"})
_MOST_HALVES: Final = 120


@dataclass(frozen=True, slots=True)
class TallyRules:
    """What counts as late, how many ids are remembered, and which types have a name."""

    late_ms: int
    recent_ids: int
    bots: BotRules
    types: Mapping[str, str] = field(default_factory=lambda: NO_TYPES)

    @classmethod
    def of(cls, options: QualityOptions, gap_ms: int, types: Mapping[str, str] = NO_TYPES) -> TallyRules:
        return cls(options.late_ms, options.recent_ids, BotRules.of(options, gap_ms), types)


@dataclass(frozen=True, slots=True)
class Counted:
    """What some records add: cells, sessions that no human has (each with its last moment), and the newest moment."""

    cells: Cells
    bots: Mapping[str, int]
    newest_ms: int


class Tally:
    """Counts the records of partitions, and remembers ids and sessions that were there lately. Mutable, bounded.

    What it remembers is of this process alone: duplicates of what came before it began are not known as such, and a
    session is looked at from then on. All else depends on the records alone.
    """

    def __init__(self, rules: TallyRules) -> None:
        self._rules = rules
        self.visits = Visits(rules.bots)
        self._ids: dict[EventKey, None] = {}

    def forget(self) -> None:
        """Begin afresh: what was counted last may be counted again."""
        self.visits.clear()
        self._ids.clear()

    def count(
        self, records: Iterable[PlainEvent | Rejection], newest_ms: int, now_ms: int, held: Container[str] | None = None
    ) -> Counted:
        """Count records of one partition, in log order. `newest_ms` is the newest event's time before them, 0 for none;
        `now_ms` the clock. `held` are the item ids that the catalogue has; None: that is not known.
        """
        cells, bots, clicked = Cells(), dict[str, int](), Counter[tuple[int, str]]()
        for record in records:
            if isinstance(record, Rejection):
                minute = (newest_ms or now_ms) // MINUTE_MS
                cells[minute, RECORDS] += 1
                cells[minute, FUTURE if record.reason in _FUTURE_REASONS else BROKEN] += 1
                continue
            newest_ms = max(newest_ms, record.ts)
            self._count(record, newest_ms, cells, bots, clicked)
        if held is not None:
            for (minute, item), count in clicked.items():
                cells[minute, CLICKS] += count
                if item not in held:
                    cells[minute, UNKNOWN] += count
        return Counted(cells, bots, newest_ms)

    def _count(
        self,
        event: PlainEvent,
        newest_ms: int,
        cells: Cells,
        bots: dict[str, int],
        clicked: Counter[tuple[int, str]],
    ) -> None:
        now = newest_ms // MINUTE_MS
        cells[now, RECORDS] += 1
        cells[now, EVENTS] += 1
        key = event_key(event.event_id)
        if key in self._ids:
            cells[now, DUPLICATE] += 1
            return
        self._ids[key] = None
        if len(self._ids) > self._rules.recent_ids:
            del self._ids[next(iter(self._ids))]
        if event.ts < newest_ms - self._rules.late_ms:
            cells[now, LATE] += 1
        minute = event.ts // MINUTE_MS
        if minute > now - KEEP_DAYS * DAY_MINUTES:
            cells[minute, TYPE + self._name_of(event)] += 1
        if event.item_id is not None:
            clicked[now, event.item_id] += 1
        if event.value is not None and event.type in ("purchase", "return"):
            cells[now - now % HOUR_MINUTES, value_name(event.value / (event.quantity or 1))] += 1
        if not event.is_impression and self.visits.see(event):
            cells[now, BOTS] += 1
            bots[event.session_id] = newest_ms

    def _name_of(self, event: PlainEvent) -> str:
        """Return the type that events are counted as: whoever may send them can make names up."""
        return event.type if event.type in BUILT_IN or event.type in self._rules.types else OTHER


def value_name(value: float) -> str:
    """Return the cell of a value: the half power of two at or below it."""
    if not (value > 0 and math.isfinite(value)):
        return NO_VALUE
    return f"{VALUE}{min(_MOST_HALVES, max(-_MOST_HALVES, math.floor(2 * math.log2(value))))}"
