"""What a catalogue lacks: items without fields that lists and filters need, and prices far from their category's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.items import Item

FIELDS: Final = ("title", "price", "category", "picture", "stock")
OFTEN_UNUSED: Final = frozenset({"picture", "stock"})
"""Fields that a shop may do without: none of its items has them."""
LEAST_OF_A_CATEGORY: Final = 20
"""Prices of a category that say what is usual in it; those of smaller ones are compared with all prices."""
_FAR: Final = 6.0
"""Robust standard deviations of the logarithm from its category's median."""
_LEAST_SPREAD: Final = 0.2
"""Of logarithms: a category whose prices are all alike is not strict about a few per cent."""
_NORMAL: Final = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation (Leys et al. 2013)."""


@dataclass(frozen=True, slots=True)
class CatalogueFigures:
    """Items that were looked at, of how many; how many of those lack each field; prices, and those far from usual."""

    items: int
    looked_at: int
    lacking: Mapping[str, int] = field(default_factory=dict)
    prices: int = 0
    strange_prices: int = 0


def lacks(item_id: str, item: Item) -> list[str]:
    """Return which fields an item lacks. A title that is the id is none: so are items called that only clicks named."""
    there = {
        "title": bool(item.title.strip()) and item.title != item_id,
        "price": item.price is not None,
        "category": bool(item.category_path),
        "picture": bool(item.image_url or item.image_vector),
        "stock": item.stock is not None,
    }
    return [name for name in FIELDS if not there[name]]


def figures_of(items: Iterable[tuple[str, Item]]) -> CatalogueFigures:
    """Return the figures of a whole list of items."""
    lacking, prices, categories = Counter[str](), list[float](), list[str]()
    count = 0
    for item_id, item in items:
        count += 1
        lacking.update(lacks(item_id, item))
        if item.price is not None:
            prices.append(item.price)
            categories.append(item.category)
    codes = np.unique(np.array(categories, np.str_), return_inverse=True)[1] if categories else np.zeros(0, np.int64)
    return CatalogueFigures(count, count, lacking, len(prices), strange_prices(np.array(prices), codes))


def strange_prices(prices: NDArray[Any], categories: NDArray[Any]) -> int:
    """Return how many prices (n,), none NaN, are 0 or far from those of their category (n,), a code each.

    Far is six robust standard deviations (median absolute deviation) of the logarithm: Leys et al. 2013.
    """
    positive = prices > 0
    logs, codes = np.log(prices[positive].astype(np.float64)), categories[positive]
    free = len(prices) - len(logs)
    if not len(logs):
        return free
    order = np.argsort(codes, kind="stable")
    logs, codes = logs[order], codes[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    whole = float(np.median(logs))
    centre = np.empty_like(logs)
    for part, at in zip(np.split(logs, starts[1:]), starts.tolist(), strict=True):
        centre[at : at + len(part)] = np.median(part) if len(part) >= LEAST_OF_A_CATEGORY else whole
    away = np.abs(logs - centre)
    spread = np.empty_like(logs)
    all_spread = max(_LEAST_SPREAD, _NORMAL * float(np.median(np.abs(logs - whole))))
    for part, at in zip(np.split(away, starts[1:]), starts.tolist(), strict=True):
        own = max(_LEAST_SPREAD, _NORMAL * float(np.median(part)))
        spread[at : at + len(part)] = own if len(part) >= LEAST_OF_A_CATEGORY else all_spread
    return free + int(np.count_nonzero(away > _FAR * spread))
