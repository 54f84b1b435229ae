"""What clicks say of items, as arrays: what one counts, taken apart by item and parted into shards.

A click on an item that six others stand before says something of seven items, and of the groups of its visitor.
`updates_of` writes all of it down as records of one kind, which are exchanged between processes and counted
(`retrieval.trend_counts`) without an object each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from contracts.codec import TREND_COUNTS
from contracts.events import EventCode
from retrieval.showings import shards_of
from retrieval.trends import COUNTED_BY, ClickOrigin, CountedClick

AFTER: Final = len(ClickOrigin)
BEFORE: Final = AFTER + 1
BY_GROUP: Final = -1
VISITOR_SHIFT: Final = np.uint64(32)

UPDATE: Final = np.dtype([("item", "u8"), ("other", "u8"), ("ts_ms", "i8"), ("weight", "f8"), ("kind", "i8")])
"""One thing said of `item`. `kind` below AFTER: a click of this ClickOrigin, and `other` tells which of TREND_COUNTS it
adds to, a bit each, and in its upper half who the visitor was. BY_GROUP: likewise a click by `item`, which is a
group; it has no origin. AFTER or BEFORE: `other` is an item of the same session
that was clicked then, with this weight.
"""
Updates = NDArray[np.void]

_COUNTS: Final = np.array(
    [sum(1 << at for at, name in enumerate(TREND_COUNTS) if code in COUNTED_BY[name]) for code in EventCode],
    np.uint64,
)
"""By EventCode, the counts that a click of it adds to."""


def updates_of(clicks: Sequence[CountedClick]) -> Updates:
    """Return what clicks say of items, (n,) UPDATE: in the order of the clicks, each click's own item first; then what
    they say of groups.
    """
    ts_ms, items, _, codes, origins, earlier, visitors, groups = zip(*clicks, strict=True) if clicks else ((),) * 8
    sizes = np.fromiter(map(len, earlier), np.int64, len(clicks))
    updates = np.empty(len(clicks) + 2 * int(sizes.sum()), UPDATE)
    _write_updates(
        np.array(items, np.uint64),
        np.array(ts_ms, np.int64),
        _COUNTS[np.array(codes, np.int64)] | np.array(visitors, np.uint64) << VISITOR_SHIFT,
        np.array(origins, np.int64),
        sizes,
        np.fromiter(chain.from_iterable(earlier), np.uint64, int(sizes.sum())),
        updates,
    )
    return np.concatenate([updates, _of_groups(clicks)]) if any(groups) else updates


def _of_groups(clicks: Sequence[CountedClick]) -> Updates:
    """Return what clicks say of the groups of their visitors, (n,) UPDATE: that the group clicked, and what."""
    said = []
    for click in clicks:
        counted = int(_COUNTS[click.code]) | click.visitor << int(VISITOR_SHIFT)
        for group in click.groups:
            said.append((group, counted, click.ts_ms, 1.0, BY_GROUP))
            said.append((group, click.item, click.ts_ms, 1.0, AFTER))
    return np.array(said, UPDATE)


def by_shard(updates: Updates) -> Iterator[tuple[int, Updates]]:
    """Yield updates parted by the shards of their items, in the order given."""
    shards = shards_of(updates["item"])
    order = np.argsort(shards, kind="stable")
    parted, sizes = updates[order], np.bincount(shards)
    for shard, end in zip(
        np.flatnonzero(sizes).tolist(), np.cumsum(sizes)[np.flatnonzero(sizes)].tolist(), strict=True
    ):
        yield shard, parted[end - int(sizes[shard]) : end]


@kernel(reads("u8"), reads("i8"), reads("u8"), reads("i8"), reads("i8"), reads("u8"), writes(UPDATE))
def _write_updates(
    items: NDArray[np.uint64],
    ts_ms: NDArray[np.int64],
    counts: NDArray[np.uint64],
    origins: NDArray[np.int64],
    sizes: NDArray[np.int64],
    earlier: NDArray[np.uint64],
    updates: Any,
) -> None:
    at, other = 0, 0
    for click in range(items.shape[0]):
        one = updates[at]
        one["item"], one["other"], one["ts_ms"] = items[click], counts[click], ts_ms[click]
        one["weight"], one["kind"] = 1.0, origins[click]
        at += 1
        for distance in range(1, sizes[click] + 1):
            before, after = updates[at], updates[at + 1]
            before["item"], before["other"], before["kind"] = items[click], earlier[other], BEFORE
            after["item"], after["other"], after["kind"] = earlier[other], items[click], AFTER
            before["ts_ms"] = after["ts_ms"] = ts_ms[click]
            before["weight"] = after["weight"] = 1.0 / distance
            at, other = at + 2, other + 1
