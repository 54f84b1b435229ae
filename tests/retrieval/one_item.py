"""One item of `TrendCounts`, asked one thing at a time."""

from __future__ import annotations

import numpy as np

from contracts.codec import ItemTrend, decode_trend
from contracts.events import EventCode
from contracts.ids import ItemKey
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import AFTER, BEFORE, UPDATE, updates_of
from retrieval.trends import ClickOrigin, CountedClick, TrendRules

ITEM = ItemKey(2**63)


class OneItem:
    """Counts clicks and pairs of one item."""

    def __init__(self, rules: TrendRules) -> None:
        self.counts = TrendCounts(rules)

    def click(self, ts_ms: int, code: EventCode = EventCode.VIEW, *, origin: ClickOrigin) -> None:
        self.counts.apply(updates_of([CountedClick(ts_ms, ITEM, "item", code, origin)]))

    def pair(self, other: ItemKey, weight: float, ts_ms: int, *, after: bool) -> None:
        self.counts.apply(np.array([(ITEM, other, ts_ms, weight, AFTER if after else BEFORE)], UPDATE))

    def snapshot(self, as_of_ms: int) -> ItemTrend:
        (row,) = self.counts.rows(np.array([ITEM], np.uint64), as_of_ms).encoded()
        return decode_trend(row)

    @property
    def last_ms(self) -> int:
        return self.counts.newest_ms

    @property
    def pairs(self) -> list[int]:
        """The keys that are tracked."""
        keys: list[int] = self.counts.saved().pair_keys.tolist()
        return keys
