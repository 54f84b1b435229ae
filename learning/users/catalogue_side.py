"""What user models know of items: how often each was clicked in training, and the groups that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.items import Item
from evaluation.sessions import Longs, Sessions

GROUPS = ("category", "brand", "price band")


@dataclass(frozen=True, slots=True)
class ItemSide:
    """n items: `clicks` (n,) in the training visits; `groups` (3, n) codes by GROUPS, and `suppliers` (n,); -1 where an
    item says nothing.
    """

    clicks: Longs
    groups: Longs
    suppliers: Longs

    @property
    def trained(self) -> NDArray[np.intp]:
        """Places of the items that training saw."""
        return np.flatnonzero(self.clicks > 0)

    @property
    def popularity(self) -> NDArray[np.float32]:
        """(n,) log of 1 + clicks, the largest 1."""
        logs = np.log1p(self.clicks)
        return np.asarray(logs / max(float(logs.max(initial=0.0)), 1e-9), np.float32)

    @classmethod
    def of(cls, learnt: Sessions, items: Mapping[str, Item]) -> ItemSide:
        known = [items.get(item_id) for item_id in learnt.item_ids]
        return cls(
            clicks=np.bincount(learnt.items, minlength=len(learnt.item_ids)).astype(np.int64),
            groups=np.stack(
                [
                    _codes([item.category if item is not None else None for item in known]),
                    _codes([item.brand if item is not None else None for item in known]),
                    _codes([price_band(item.price if item is not None else None) for item in known]),
                ]
            ),
            suppliers=_codes([item.supplier if item is not None else None for item in known]),
        )


def price_band(price: float | None) -> int | None:
    """Return the number of a price's band, None without a price. Bands are those of a scenario's limits: each is as
    wide as its lower end times 0.41.
    """
    return int(np.floor(2 * np.log2(max(price, 1e-6)))) if price else None


def _codes(values: Sequence[str | int | None]) -> Longs:
    places: dict[str | int, int] = {}
    return np.array(
        [places.setdefault(one, len(places)) if one not in (None, "") else -1 for one in values],
        np.int64,
    )
