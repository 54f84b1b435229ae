"""What a page showed above the item that was clicked: looked at, and passed over (Joachims et al., SIGIR 2005).

Events of type impression name the items of a page, in the order shown, and its `request_id`; a click that came from it
names the same. Nothing else says what was seen: items below the click, and pages without a click, say nothing here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event, tells_of_seen

PENDING = 100_000
"""Pages kept in mind until a click names them; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Lists of items that were passed over: list n is `items[starts[n]:starts[n + 1]]`, nearest to the click first.

    `items` (m,) are places in the item list, `starts` (lists + 1,).
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def none(cls) -> PassedOver:
        return cls(np.zeros(0, np.int32), np.zeros(1, np.int64))

    def take(self, lists: NDArray[np.int32], most: int) -> NDArray[np.int64]:
        """Return the first `most` items of lists (n,), as (n, most); -1 where there is none. List -1 is empty."""
        if not len(self.starts) > 1:
            return np.full((len(lists), most), -1, np.int64)
        place = self.starts[lists][:, None] + np.arange(most)  # (n, most)
        inside = (lists >= 0)[:, None] & (place < self.starts[np.maximum(lists, 0) + 1][:, None])
        return np.where(inside, self.items[np.minimum(place, len(self.items) - 1)], -1)


@dataclass(slots=True)
class Pages:
    """Reads pages and the clicks that came from them. Mutable: it remembers both."""

    pending: OrderedDict[str, Sequence[str]] = field(default_factory=OrderedDict)
    lists: list[tuple[int, Sequence[str]]] = field(default_factory=list)

    def show(self, event: Event) -> None:
        """Keep an impression in mind."""
        if event.request_id is None or not event.items or tells_of_seen(event.request_id, event.context):
            return
        self.pending[event.request_id] = event.items
        if len(self.pending) > PENDING:
            self.pending.popitem(last=False)

    def follow(self, event: Event, session: int) -> int:
        """Return the number of the list that a click of a session passed over, -1 for none."""
        shown = self.pending.get(event.request_id) if event.request_id is not None else None
        if shown is None or event.item_id not in shown:
            return -1
        above = shown[: shown.index(event.item_id)]
        if not above:
            return -1
        self.lists.append((session, above[::-1]))
        return len(self.lists) - 1

    def passed_over(self, place: Mapping[str, int], session: NDArray[np.int64], item: NDArray[np.int64]) -> PassedOver:
        """Return the lists, without items that were never clicked by anyone, or in the same session.

        `place` are the places of clicked items; `session` (clicks,) and `item` (clicks,) say who clicked what.
        """
        if not self.lists:
            return PassedOver.none()
        owners = np.repeat([owner for owner, _ in self.lists], [len(items) for _, items in self.lists])
        lists = np.repeat(np.arange(len(self.lists)), [len(items) for _, items in self.lists])
        places = np.array([place.get(name, -1) for _, items in self.lists for name in items], np.int64)
        clicked = np.isin(owners * len(place) + places, session * len(place) + item)
        kept = (places >= 0) & ~clicked
        lengths = np.bincount(lists[kept], minlength=len(self.lists))
        return PassedOver(places[kept].astype(np.int32), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
