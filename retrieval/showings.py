"""How often items were shown, and clicked where they were shown: decayed counts of many items as arrays.

The pure core: `retrieval.open_sessions` says what an event shows, `ShowingCounts` counts it, in the trends flow and in
training. A page shows twenty items, so showings are counted for a whole batch at once, apart from clicks and pairs, and
handed on in blocks of many items. Items are parted into shards by the first bits of their keys.

Forward decay, as in `retrieval.trends`: a showing at t adds 2^((t - landmark) / half_life).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.codec import ShowingBlock
from contracts.ids import ItemKey

Keys = NDArray[np.uint64]
Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHARDS: Final = 16
"""Blocks that the items are parted into. Fixed: rows of the table and recovery stores are kept by it."""
_SHARD_BITS: Final = 60
_RESCALE_AT: Final = 64.0
"""Half-lives after the landmark at which sums are scaled back, far from the end of a float."""


class Showings(NamedTuple):
    """What one event says of showings: the items of a page, shown; or, `clicked`, items clicked where they were."""

    ts_ms: int
    items: tuple[ItemKey, ...]
    clicked: bool = False


@dataclass(frozen=True, slots=True)
class ShowingBatch:
    """Showings of n items, an item as often as it was shown, all of them of one shard."""

    keys: Keys
    ts_ms: Int64s
    clicked: NDArray[np.bool_]


def by_shard(showings: Sequence[Showings]) -> Iterable[tuple[int, ShowingBatch]]:
    """Yield what several events say, parted by shard."""
    sizes = [len(one.items) for one in showings]
    keys = np.array([key for one in showings for key in one.items], np.uint64)
    ts_ms = np.repeat(np.array([one.ts_ms for one in showings], np.int64), sizes)
    clicked = np.repeat(np.array([one.clicked for one in showings], np.bool_), sizes)
    shards = shards_of(keys)
    for shard in np.flatnonzero(np.bincount(shards, minlength=SHARDS)).tolist():
        mine = shards == shard
        yield shard, ShowingBatch(keys[mine], ts_ms[mine], clicked[mine])


def shards_of(keys: Keys) -> NDArray[np.uint8]:
    """Return the shard of every item, (n,)."""
    return (keys >> np.uint64(_SHARD_BITS)).astype(np.uint8)


def shard_of(key: int) -> int:
    """Return the shard of one item."""
    return key >> _SHARD_BITS


@dataclass(slots=True)
class ShowingCounts:
    """Counters of the items of one shard, or of all. Mutable; right for times in any order.

    `keys` (n,) ascend. `shown` and `clicked` (n,) are sums as of `landmark_ms`: only `block` gives counts. With `asks`,
    a new item waits until `admit` hears that the catalogue has it: what is not in it is never recommended.
    """

    half_life_ms: float
    asks: bool = False
    landmark_ms: int = -1
    keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    shown: Float64s = field(default_factory=lambda: np.zeros(0))
    clicked: Float64s = field(default_factory=lambda: np.zeros(0))
    last_ms: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    kept: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(n,) False of those that wait."""

    def count(self, batch: ShowingBatch) -> None:
        """Count showings and clicked showings."""
        if not len(batch.keys):
            return
        newest_ms = int(batch.ts_ms.max())
        if self.landmark_ms < 0:
            self.landmark_ms = newest_ms
        if newest_ms - self.landmark_ms > _RESCALE_AT * self.half_life_ms:
            self._move_landmark(newest_ms)
        gains = self._weights(batch.ts_ms - self.landmark_ms)
        distinct, place = np.unique(batch.keys, return_inverse=True)
        at = self._places(distinct)[place]
        np.add.at(self.shown, at, np.where(batch.clicked, 0.0, gains))
        np.add.at(self.clicked, at, np.where(batch.clicked, gains, 0.0))
        np.maximum.at(self.last_ms, at, batch.ts_ms)

    def block(self) -> ShowingBlock:
        """Return the counts of every item, each as of its own newest event, without those that wait."""
        kept = self.kept
        scale = self._weights(self.landmark_ms - self.last_ms[kept])
        return ShowingBlock(
            self.keys[kept],
            (self.shown[kept] * scale).astype(np.float32),
            (self.clicked[kept] * scale).astype(np.float32),
        )

    def admit(self, known: Callable[[Keys], Bools]) -> None:
        """Keep the items that wait and that the catalogue has. What `known` raises is raised, and changes nothing."""
        waiting = np.flatnonzero(~self.kept)
        if len(waiting):
            self.kept[waiting] = known(self.keys[waiting])

    def forget(self, before_ms: int, waiting_before_ms: int = -1) -> None:
        """Let go of the items whose newest event is older; those that wait have a moment of their own."""
        self._let_go(self.last_ms < np.where(self.kept, before_ms, waiting_before_ms))

    def bound(self, kept: int, waiting: int) -> None:
        """Where there are more items than so many, let go of those shown longest ago: an eighth of those kept, half of
        those that wait.
        """
        gone = np.zeros(len(self.keys), np.bool_)
        for most, leaves, at in (
            (kept, kept - kept // 8, np.flatnonzero(self.kept)),
            (waiting, waiting // 2, np.flatnonzero(~self.kept)),
        ):
            if len(at) > most:
                gone[at[np.argsort(self.last_ms[at], kind="stable")[: len(at) - leaves]]] = True
        self._let_go(gone)

    def _let_go(self, gone: Bools) -> None:
        if gone.any():
            left = ~gone
            self.keys, self.shown, self.clicked = self.keys[left], self.shown[left], self.clicked[left]
            self.last_ms, self.kept = self.last_ms[left], self.kept[left]

    def copy(self) -> ShowingCounts:
        """Return a copy that does not move with this one."""
        return replace(
            self,
            keys=self.keys.copy(),
            shown=self.shown.copy(),
            clicked=self.clicked.copy(),
            last_ms=self.last_ms.copy(),
            kept=self.kept.copy(),
        )

    def _places(self, distinct: Keys) -> NDArray[np.intp]:
        """Return where ascending keys (k,) stand, putting in those that are new."""
        at = np.searchsorted(self.keys, distinct)
        held = np.zeros(len(distinct), np.bool_)
        inside = at < len(self.keys)
        held[inside] = self.keys[at[inside]] == distinct[inside]
        if held.all():
            return at
        new = ~held
        where = at[new]
        self.keys = np.insert(self.keys, where, distinct[new])
        self.shown = np.insert(self.shown, where, 0.0)
        self.clicked = np.insert(self.clicked, where, 0.0)
        self.last_ms = np.insert(self.last_ms, where, 0)
        self.kept = np.insert(self.kept, where, not self.asks)
        return np.searchsorted(self.keys, distinct)

    def _weights(self, differences_ms: Int64s) -> Float64s:
        weights: Float64s = np.exp2(np.maximum(differences_ms / self.half_life_ms, -1000.0))
        return weights

    def _move_landmark(self, landmark_ms: int) -> None:
        scale = float(2.0 ** max(-1000.0, (self.landmark_ms - landmark_ms) / self.half_life_ms))
        self.shown *= scale
        self.clicked *= scale
        self.landmark_ms = landmark_ms
