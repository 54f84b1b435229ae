"""What is popular and what is viewed together: the rules by which a session's clicks are counted.

The pure core. `earlier_items` says which items a click brings together, `classify_click` where it came from.
`retrieval.open_sessions` makes a `CountedClick` of every click, and `retrieval.trend_counts` counts those of many
items as arrays: in the trends flow and in the re-ranker's training alike. `retrieval.trend_columns` is the serving
replica.

Clicks and pairs are counted at two paces at once: one that remembers, and a recent one that fades `recent_pace` times
as fast. What is read on a news site changes within minutes, what goes with what in a shop within months; the ranker
sees both, and learns which of them to believe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Final, NamedTuple

import xxhash

from contracts.events import INTEREST, EventCode
from contracts.ids import ItemKey
from contracts.settings import TrendOptions
from retrieval.groups import Groups

COUNTED_BY: Final[dict[str, frozenset[EventCode]]] = {
    "popularity": INTEREST,
    "recent": INTEREST,
    "views": frozenset((EventCode.VIEW, EventCode.LOOK)),
}
"""By count of TREND_COUNTS, the types of click that add to it: none that INTEREST lacks."""
VISITED_WITHIN: Final = timedelta(days=1)
"""An item that the catalogue does not have is handed on once enough sessions clicked it within this time."""


@dataclass(frozen=True, slots=True)
class TrendRules:
    """How clicks become trends.

    half_life: every count halves in this time. recent_pace: recent counts halve so many times as fast. neighbours:
    co-visited items handed on per item; up to `recent_neighbours` of them for what is recent. tracked: co-visited items
    counted per item before the weakest half is let go. pair_window: a click is paired with this many of the
    session's last distinct items. backward: weight of the pair from the later item to the earlier one, as a
    share of the forward one, wherever the two are added up. sessions: slots of ended sessions. visitors: distinct
    sessions that have to click an item within VISITED_WITHIN before its counts are handed on, where nobody says that
    the catalogue has it; 1 hands every item on. Training counts with 1: there every item is in the catalogue.
    """

    half_life: timedelta = timedelta(hours=12)
    recent_pace: float = 48.0
    neighbours: int = 50
    recent_neighbours: int = 25
    tracked: int = 200
    pair_window: int = 5
    backward: float = 0.5
    sessions: int = 500_000
    visitors: int = 1
    half_life_ms: float = field(init=False, repr=False)
    recent_half_life_ms: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.half_life <= timedelta(0) or self.pair_window < 1 or not 0 < self.neighbours <= self.tracked:
            raise ValueError(f"expected half_life > 0, pair_window >= 1, 0 < neighbours <= tracked, got {self}")
        if self.recent_pace < 1:
            raise ValueError(f"expected recent_pace >= 1, got {self}")
        if self.visitors < 1:
            raise ValueError(f"expected visitors >= 1, got {self}")
        object.__setattr__(self, "half_life_ms", self.half_life.total_seconds() * 1000.0)
        object.__setattr__(self, "recent_half_life_ms", self.half_life_ms / self.recent_pace)

    @classmethod
    def of(cls, options: TrendOptions) -> TrendRules:
        """Return the rules that the settings ask for. `visitors` is the flow's own to add."""
        return cls(half_life=options.half_life, recent_pace=options.recent_pace, sessions=options.sessions)


def visitor_of(session_id: str) -> int:
    """Return the 32 bits by which a session is told from others that click an item."""
    return xxhash.xxh3_64_intdigest(session_id.encode(errors="surrogatepass")) >> 32


class ClickOrigin(IntEnum):
    """Where a click came from in its session. The value is where it is counted."""

    ENTRY = 0
    """It began the session."""
    REPEAT = 1
    """From the same item: it was clicked again."""
    FORWARD = 2
    """From another item, to one that the session had not clicked."""
    RETURN = 3
    """From another item, back to one that the session had clicked."""


def classify_click(previous: Sequence[ItemKey], item: ItemKey) -> ClickOrigin:
    """Return the origin of a click on `item` in a session of these kept clicks (`previous`, newest last)."""
    if not previous:
        return ClickOrigin.ENTRY
    if previous[-1] == item:
        return ClickOrigin.REPEAT
    return ClickOrigin.RETURN if item in previous else ClickOrigin.FORWARD


def earlier_items(previous: Sequence[ItemKey], item: ItemKey, rules: TrendRules) -> tuple[ItemKey, ...]:
    """Return the items that a click on `item` is paired with, the nearest first: the last `pair_window` distinct ones
    other than `item` of a session of these kept clicks (`previous`, newest last).

    The d-th of them weighs 1/d. A pair counts in both directions: what was clicked next is what we are asked for, and
    what was clicked before says that two items are alike whichever came first.
    """
    distinct: dict[ItemKey, None] = {}
    for earlier in reversed(previous):
        if earlier != item:
            distinct[earlier] = None
            if len(distinct) == rules.pair_window:
                break
    return tuple(distinct)


class CountedClick(NamedTuple):
    """A click, and all that it counts for: its item, by type and `origin`, and the pairs with `earlier_items`.
    `visitor` is whose it was: see `visitor_of`; `groups` are those that the visitor is of.
    """

    ts_ms: int
    item: ItemKey
    item_id: str
    code: EventCode = EventCode.VIEW
    origin: ClickOrigin = ClickOrigin.ENTRY
    earlier: tuple[ItemKey, ...] = ()
    visitor: int = 0
    groups: Groups = ()
