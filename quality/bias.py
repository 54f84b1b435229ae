"""Who is shown, and who is clicked: shares of exposure and of clicks, and click rates, by supplier, price band, item
age, region and device.

A click counts for the newest page of its session that held the item, at most half an hour before: once a page and item.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from contracts.events import tells_of_seen
from contracts.items import Item
from contracts.plain_events import PlainEvent

WINDOW_MS: Final = 1_800_000
BY: Final = ("supplier", "price", "age", "region", "device")
BANDS: Final = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
AGES: Final = ((3_600_000, "an hour"), (86_400_000, "a day"), (7 * 86_400_000, "a week"))
UNKNOWN: Final = "unknown"
MOST_SESSIONS: Final = 100_000
MOST_PAGES: Final = 20
"""Pages of a session that a click may count for."""
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Share:
    """One group: how many items of it the catalogue has, how often they were shown, and clicked there."""

    by: str
    group: str
    items: int
    shown: int
    clicked: int

    @property
    def click_rate(self) -> float | None:
        return self.clicked / self.shown if self.shown else None


def bias(events: Iterable[PlainEvent], items: Mapping[str, Item]) -> list[Share]:
    """Return exposure and clicks of events in time order, by each of BY, those shown most first.

    An item's age is the time since it was first shown or clicked in these events; of region and device no number of
    items is known (0).
    """
    prices = [item.price for item in items.values() if item.price is not None]
    edges = np.quantile(prices, [0.25, 0.5, 0.75]) if prices else np.zeros(3)
    shown, clicked = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    first_ms: dict[str, int] = {}
    pages: OrderedDict[str, list[tuple[int, dict[str, tuple[tuple[str, str], ...]]]]] = OrderedDict()
    for event in events:
        if event.is_impression:
            if tells_of_seen(event.request_id, event.context):
                continue
            where = [(name, _said(event.context, name)) for name in ("region", "device")]
            page = {}
            for item_id in dict.fromkeys(event.items or ()):
                age = event.ts - first_ms.setdefault(item_id, event.ts)
                page[item_id] = (*_of_item(items.get(item_id), edges), ("age", _age(age)), *where)
                shown.update(page[item_id])
            kept = pages.setdefault(event.session_id, [])
            kept.append((event.ts, page))
            del kept[:-MOST_PAGES]
            pages.move_to_end(event.session_id)
            if len(pages) > MOST_SESSIONS:
                pages.popitem(last=False)
        elif event.item_id is not None:
            first_ms.setdefault(event.item_id, event.ts)
            for at, page in reversed(pages.get(event.session_id, [])):
                if event.item_id in page and event.ts - at <= WINDOW_MS:
                    clicked.update(page.pop(event.item_id))
                    break
    there = Counter(group for item in items.values() for group in _of_item(item, edges))
    groups = sorted({*shown, *there}, key=lambda group: (BY.index(group[0]), -shown[group], group[1]))
    return [Share(*group, there[group], shown[group], clicked[group]) for group in groups]


def _of_item(item: Item | None, edges: np.typing.NDArray[np.float64]) -> tuple[tuple[str, str], tuple[str, str]]:
    supplier = item.supplier if item is not None and item.supplier else UNKNOWN
    price = item.price if item is not None else None
    band = UNKNOWN if price is None else BANDS[int(np.searchsorted(edges, price))]
    return ("supplier", supplier), ("price", band)


def _age(age_ms: int) -> str:
    for most_ms, name in AGES:
        if age_ms < most_ms:
            return f"under {name}"
    return f"{AGES[-1][1]} or more"


def _said(context: Mapping[str, object] | None, name: str) -> str:
    said = context.get(name) if context else None
    return said[:_LONGEST] if isinstance(said, str) and said else UNKNOWN
