"""Which parts of the context a re-ranker may learn: what a recording has of devices, regions, hours and seasons.

Counting stops before the first moment that is learnt from, so no feature knows what came after it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contracts.events import INTEREST, Event
from contracts.ids import ItemKey, item_key
from learning.calendar import LEAST_DAYS, Clicked, calendar_of
from rerank.calendar import HOUR_MS
from rerank.context import visitor_in
from rerank.features.parts import NO_PARTS, PARTS, Parts
from retrieval.catalogue import CatalogueColumns

_LEAST_SHARE: Final = 0.01
"""A device or a region counts as one of several with this share of the clicks that name one."""
_LEAST_GROUPS: Final = 2


@dataclass(frozen=True, slots=True)
class Learnable:
    """The parts that a recording has, and of each that was asked for and left out: why."""

    parts: Parts = NO_PARTS
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ContextCounts:
    """The clicks before the first moment asked, 16 bytes each. Mutable: `take` adds."""

    wanted: tuple[str, ...]
    _keys: array[int] = field(default_factory=lambda: array("Q"))
    _hours: array[int] = field(default_factory=lambda: array("q"))
    _groups: dict[str, Counter[ItemKey]] = field(default_factory=lambda: {"device": Counter(), "region": Counter()})
    _span_ms: list[int] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Count an event, if it shows interest in an item."""
        if event.item_id is None or event.code not in INTEREST:
            return
        self._keys.append(item_key(event.item_id))
        self._hours.append(event.ts // HOUR_MS)
        low, high = self._span_ms or (event.ts, event.ts)
        self._span_ms = [min(low, event.ts), max(high, event.ts)]
        visitor = visitor_in(event.context)
        self._groups["device"][visitor["device_group"]] += 1
        self._groups["region"][visitor["region_group"]] += 1

    def learnable(self, catalogue: CatalogueColumns) -> Learnable:
        """Return what may be learnt of the parts wanted; `catalogue` says since when items are there, and as what."""
        left_out = {name: why for name in self.wanted if (why := self._lacks(name))}
        names = tuple(name for name in PARTS if name in self.wanted and name not in left_out)
        cycles = Parts.cycles_among(names)
        return Learnable(Parts(names, calendar_of(self._clicked(catalogue), cycles) if cycles else None), left_out)

    def _lacks(self, name: str) -> str:
        """Say what the recording lacks for a part; nothing where it has it."""
        if name in self._groups:
            counts = self._groups[name]
            named = sum(clicks for group, clicks in counts.items() if group)
            some = sum(1 for group, clicks in counts.items() if group and clicks >= _LEAST_SHARE * named)
            return "" if some >= _LEAST_GROUPS else f"expected at least {_LEAST_GROUPS} {name}s, got {some}"
        low, high = self._span_ms or (0, 0)
        days = (high - low) / HOUR_MS / 24
        wanted = LEAST_DAYS[name]
        return "" if days >= wanted else f"expected at least {wanted:g} days before what is learnt from, got {days:.1f}"

    def _clicked(self, catalogue: CatalogueColumns) -> Clicked:
        keys, hours = np.array(self._keys, np.uint64), np.array(self._hours, np.int64)
        items = np.unique(keys)
        since = np.full(len(items), hours.max())
        np.minimum.at(since, np.searchsorted(items, keys), hours)
        rows = catalogue.rows_of(items)
        known = rows >= 0
        since[known] = np.minimum(since[known], catalogue.created_ms[rows[known]] // HOUR_MS)
        words = catalogue.fields.categories(catalogue)
        codes = np.zeros(len(items), np.int64)
        codes[known] = catalogue.category[rows[known]]
        return Clicked(keys, hours, items, since, [words[code] for code in codes.tolist()])
