"""Pages of the items that a filter keeps: bounded work a page, and an order that is the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from expressions.program import Condition
from rerank.scenarios.fields import BrowsedFrame
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import CHEAP

MOST_LOOKED_AT: Final = 20_000
"""Items that one page looks at, where its filter reads columns alone."""
MOST_READ: Final = 4_000
"""Items whose documents one page reads for a short filter; fewer for a longer one. About 20 ms."""
_SHORT: Final = 60
_AT_ONCE: Final = 1000

_Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """`rows` of the items found, in order; `cursor`: the last key that was looked at, None where nothing follows."""

    rows: _Rows
    cursor: int | None


def find_page(
    columns: CatalogueColumns,
    wanted: Condition,
    listed: NDArray[np.bool_],
    after: int | None,
    limit: int,
    now_ms: float,
) -> FoundPage:
    """Return the next page of the rows that are `listed` (count,) and that the condition keeps.

    Order is that of item keys, which every process agrees on: an item that stays is found once, whatever comes and
    goes between two pages. A page may be short, and even empty, where few items match; the list ends without a cursor.
    """
    keys = columns.keys[: columns.count]
    rest = np.flatnonzero(listed if after is None else listed & (keys > np.uint64(after)))
    looked_at = _most_looked_at(wanted)
    if len(rest) > looked_at:
        rest = rest[np.argpartition(keys[rest], looked_at)[: looked_at + 1]]
    rest = rest[np.argsort(keys[rest])]
    ahead, more = rest[:looked_at], len(rest) > looked_at
    found: list[int] = []
    for at in range(0, len(ahead), _AT_ONCE):
        part = ahead[at : at + _AT_ONCE].astype(np.int32)
        kept = np.flatnonzero(wanted.keeps(BrowsedFrame(columns, part, now_ms)))
        room = limit - len(found)
        found += part[kept[:room]].tolist()
        if len(kept) >= room:
            last = at + int(kept[room - 1])
            ends = last + 1 == len(ahead) and not more
            return FoundPage(np.array(found, np.intp), None if ends else int(keys[ahead[last]]))
    cursor = int(keys[ahead[-1]]) if more else None
    return FoundPage(np.array(found, np.intp), cursor)


def _most_looked_at(wanted: Condition) -> int:
    """Return how many items a page may look at: fields that are no columns are read item by item."""
    read = frozenset[str]().union(*(clause.names for clause in wanted.clauses)) - CHEAP
    return MOST_READ // max(len(read), 1 + len(wanted.text) // _SHORT) if read else MOST_LOOKED_AT
