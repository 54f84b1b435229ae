"""What no flow writes, though it decodes: numbers that are none, times beyond all time, fields of another kind.

A record that was damaged may still have the form of one. Taken in, a NaN stays in sums for good, and a field of another
kind ends whoever reads it later; so these look, before anything is changed. Each raises ValueError.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from contracts.codec import EndedSession, ItemTrend, ShowingBlock
from contracts.events import shown
from contracts.ids import ItemKey, item_key
from contracts.items import MOST_PRICE, CatalogueRow, Item
from contracts.nesting import DEEPEST, deeper_than
from contracts.sessions import Session

LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the latest time that an event may have."""
MOST: Final = 1e18
"""More than any count, and far enough from the end of a float32 for sums, and for 60 half-lives: as of an earlier time
a count is as much larger."""


def expect_session(session: Session) -> None:
    """Expect a session such as the sessions flow writes."""
    times = session.window["ts_ms"]
    if not 0 <= session.started_ms <= session.last_ms <= LAST_MS:
        raise ValueError(f"expected a session's times in order, got {session.started_ms} to {session.last_ms}")
    if len(times) and not (times.min() >= 0 and times.max() <= session.last_ms):
        raise ValueError(f"expected clicks up to {session.last_ms}, got {times.min()} to {times.max()}")
    if not len(times) <= session.events < 2**31:
        raise ValueError(f"expected at least the {len(times)} clicks of the window, got {session.events}")
    if not np.isfinite(session.embedding).all():
        raise ValueError("expected finite numbers in a session's embedding, got NaN or infinity")


def expect_trend(trend: ItemTrend) -> None:
    """Expect a trend such as the trends flow writes: counts of 0 or more, at a time."""
    _expect_time(trend.as_of_ms)
    counts = (*trend.counts, *trend.origin_counts)
    if not (min(counts) >= 0.0 and math.isfinite(sum(counts)) and max(counts) <= MOST):
        raise ValueError(f"expected counts from 0 to {MOST:g}, got {counts}")
    weights = trend.weights
    if len(weights) and not (weights.min() >= 0.0 and weights.max() <= MOST):
        raise ValueError(f"expected weights from 0 to {MOST:g}, got {weights.min()} to {weights.max()}")


def expect_showings(block: ShowingBlock) -> None:
    """Expect a block of showings such as the trends flow writes: items once each, counts of 0 or more."""
    for name, counts in (("shown", block.shown), ("clicked", block.clicked)):
        if len(counts) and not (counts.min() >= 0.0 and counts.max() <= MOST):
            raise ValueError(f"expected counts {name} from 0 to {MOST:g}, got {counts.min()} to {counts.max()}")
    if len(np.unique(block.keys)) != len(block.keys):
        raise ValueError(f"expected {len(block.keys)} items once each, got some of them twice")


def expect_ended(session: EndedSession) -> None:
    """Expect an ended session such as the trends flow writes."""
    _expect_time(session.started_ms)


def expect_row(key: ItemKey, row: CatalogueRow) -> None:
    """Expect a catalogue row whose fields are of the kinds that columns take, under its own key."""
    if not isinstance(row.item_id, str) or item_key(row.item_id) != key:
        raise ValueError(
            f"expected the row of an item id with the key {key:016x}, got {shown(row.item_id, 60)}: put the item again"
        )
    item = row.item
    fields = item.__dict__
    for name, kinds in _KINDS:
        value = fields.get(name)
        if type(value) not in kinds:
            raise ValueError(f"item {row.item_id!r}: expected {name} of another kind, got {shown(value, 60)}")
    if item.regions is not None and not all(isinstance(region, str) for region in item.regions):
        raise ValueError(f"item {row.item_id!r}: expected names of regions, got {shown(item.regions, 60)}")
    prices = abs(item.price or 0.0), abs(item.margin or 0.0)
    if not (max(prices) <= MOST_PRICE and 0 <= (item.min_age or 0) <= 1000):
        raise ValueError(
            f"item {row.item_id!r}: expected a price, a margin and an age that can be, got {item.price}, "
            f"{item.margin} and {item.min_age}"
        )
    _expect_time(row.created_ms)
    if row.stock < 0:
        raise ValueError(f"item {row.item_id!r}: expected a stock of 0 or more, got {row.stock}")
    expect_shallow(item)


def expect_shallow(item: Item) -> None:
    """Expect fields that are nested no deeper than every answer can show."""
    if not item.attributes and not item.model_extra:
        return
    if deeper_than([item.attributes, *(item.model_extra or {}).values()], DEEPEST + 1):
        raise ValueError(f"expected fields nested at most {DEEPEST} deep: they could not be shown")


def _expect_time(ms: int) -> None:
    if not 0 <= ms <= LAST_MS:
        raise ValueError(f"expected epoch milliseconds up to {LAST_MS}, got {ms}")


_NONE = type(None)
_KINDS: Final = (
    ("title", (str,)),
    ("description", (str, _NONE)),
    ("category", (str,)),
    ("brand", (str, _NONE)),
    ("supplier", (str, _NONE)),
    ("price", (float, int, _NONE)),
    ("margin", (float, int, _NONE)),
    ("regions", (list, _NONE)),
    ("min_age", (int, _NONE)),
    ("attributes", (dict, _NONE)),
    ("image_url", (str, _NONE)),
    ("image_vector", (list, _NONE)),
    ("stock", (int, _NONE)),
)
"""The types of an item's fields as JSON gives them: a bool is no number."""
