"""Counts of clicks and pairs of many items as arrays: the one counting core of the trends flow and of training.

Counts use forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay", ICDE 2009): an event at t adds
2^((t - landmark) / half_life), so adding is O(1), nothing is touched as time goes by, and order of arrival is
indifferent. Every item has a landmark of its own.

Not every id that is clicked is an item. What the catalogue does not have, and too few visitors clicked
(`TrendRules.visitors`), waits: it is counted as all others are, but not handed on, and `bound` lets go of it first.

An item's pairs stand together in one pool, in a block that doubles as they become more, and are looked up one after
the other: there are `TrendRules.tracked` of them at most. The kernels are in `retrieval.trend_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.codec import PAIR_COUNTS, TREND_COUNTS, encode_trends
from retrieval.columns import grown
from retrieval.key_rows import KeyRows
from retrieval.trend_kernels import apply_updates, move_pairs, read_rows
from retrieval.trend_updates import Updates
from retrieval.trends import VISITED_WITHIN, ClickOrigin, TrendRules

Keys = NDArray[np.uint64]
Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]
Bools = NDArray[np.bool_]

KnownOf = Callable[[Keys], Bools]
"""Says of items (n,) which the catalogue has."""


def all_known(keys: Keys) -> Bools:
    """Say that the catalogue has every item."""
    return np.ones(len(keys), np.bool_)


_POPULARITY: Final = TREND_COUNTS.index("popularity")
_LEAST_CLICKS: Final = 1e-300
_LEAST_POOL: Final = 1024
_WITHIN_MINUTES: Final = VISITED_WITHIN // timedelta(minutes=1)


class TrendArrays(NamedTuple):
    """Counts of n items as absolute values: `ItemTrend` as arrays.

    `keys` (n,), `as_of_ms` (n,), `counts` (n, TREND_COUNTS), `origins` (n, 4). The neighbours of row i, the strongest
    first, are `neighbours[starts[i] : starts[i + 1]]`, with `weights` (m, 3); `starts` is (n + 1,).
    """

    keys: Keys
    as_of_ms: Int64s
    counts: Float32s
    origins: Float32s
    starts: Int64s
    neighbours: Keys
    weights: Float32s

    def encoded(self) -> list[bytes]:
        """Return the rows of the trends table."""
        return encode_trends(*self[1:])


@dataclass(frozen=True, slots=True)
class SavedCounts:
    """All that `TrendCounts` holds of n items with m pairs, without room to grow; `unwritten` are not written yet, and
    those that are not `kept` wait.
    """

    keys: Keys
    landmark_ms: Int64s
    last_ms: Int64s
    sums: Float64s
    origins: Float64s
    announced: Bools
    unwritten: Bools
    kept: Bools
    visits: Keys
    pair_counts: Int64s
    pair_keys: Keys
    pair_sums: Float64s


class TrendCounts:
    """Counters of the items of one shard, or of all. Mutable, for one thread, right for times in any order.

    `sums` (n, TREND_COUNTS) and those of pairs (m, 3: clicked after, clicked before, either of them lately) are as of
    `landmark_ms` (n,): only `rows` gives counts. `origins` (n, 4) are clicks by ClickOrigin, and do not decay: they
    describe the item, not its moment. `visits` (n, visitors - 1) notes who clicked an item that waits.
    """

    _keys: Keys
    _landmark_ms: Int64s
    _last_ms: Int64s
    _sums: Float64s
    _origins: Float64s
    _announced: Bools
    _unwritten: Bools
    _kept: Bools
    _visits: Keys
    _places: Int64s
    """(n, 3) of every item's pairs: where its block begins in the pool, how many have room, how many there are."""
    _pool_keys: Keys
    _pool_sums: Float64s
    _pool_end: Int64s

    def __init__(self, rules: TrendRules, saved: SavedCounts | None = None) -> None:
        self._rules = rules
        self._paces = np.array([rules.half_life_ms, rules.recent_half_life_ms, rules.backward])
        self._limits = np.array([rules.neighbours, rules.recent_neighbours, rules.tracked, _WITHIN_MINUTES], np.int64)
        self._hold(_nothing(rules) if saved is None else _with_visits(saved, rules))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Keys:
        """(n,), in the order in which the items were first counted."""
        return self._keys[: len(self)]

    @property
    def kept_keys(self) -> Keys:
        """(k,), of the items that do not wait."""
        return self.keys[self._kept[: len(self)]]

    @property
    def any_waits(self) -> bool:
        """Whether there are items that wait."""
        return not self._kept[: len(self)].all()

    @property
    def newest_ms(self) -> int:
        """The time of the newest event counted; -1 if there is none."""
        return int(self._last_ms[: len(self)].max(initial=-1))

    @property
    def unwritten(self) -> bool:
        """Whether anything moved since `changed_rows` was last called, or `admit` for items that wait."""
        return bool(self._unwritten[: len(self)].any())

    def apply(self, updates: Updates) -> Int64s:
        """Count UPDATEs (u,). Returns the positions of those by which an item is first clicked and kept, (f,)."""
        rows = self._rows_of(updates)
        first = np.empty(len(updates), np.int64)
        done, found = 0, np.zeros(1, np.int64)
        while True:
            done = apply_updates(
                updates,
                rows,
                done,
                self._landmark_ms,
                self._last_ms,
                self._sums,
                self._origins,
                self._announced,
                self._unwritten,
                self._kept,
                self._visits,
                self._places,
                self._pool_keys,
                self._pool_sums,
                self._pool_end,
                self._paces,
                self._limits,
                first,
                found,
            )
            if done == len(updates):
                return first[: found[0]]
            self._enlarge_pool()

    def changed_rows(self, as_of_ms: int = -1) -> TrendArrays:
        """Return the items that moved since the last call, without those that wait: see `rows`."""
        changed = np.flatnonzero(self._unwritten[: len(self)] & self._kept[: len(self)])
        self._unwritten[changed] = False
        return self._read(changed, as_of_ms)

    def rows(self, keys: Keys, as_of_ms: int = -1) -> TrendArrays:
        """Return the counts of items that are held as they stand at `as_of_ms`, or at the item's newest event where
        that is later: counts are never shown as of a past that they have already left.

        Neighbours are the `recent_neighbours` strongest lately, and of all others the strongest, up to `neighbours`,
        strongest first; equal ones in the order of their keys.
        """
        return self._read(self._rows.rows_of(keys).astype(np.int64), as_of_ms)

    def admit(self, known: KnownOf, *, all_that_wait: bool = False) -> None:
        """Keep the items that wait and that the catalogue has: of those that moved since the last call, or of all.
        What `known` raises is raised, and changes nothing.
        """
        n = len(self)
        waiting = ~self._kept[:n]
        asked = np.flatnonzero(waiting if all_that_wait else waiting & self._unwritten[:n])
        if len(asked):
            found = known(self._keys[asked])
            self._unwritten[asked] = found
            self._kept[asked] = self._announced[asked] = found

    def write_again(self, keys: Keys) -> None:
        """Have those of the items that are held come with the next `changed_rows`."""
        rows = self._rows.rows_of(keys)
        self._unwritten[rows[rows >= 0]] = True

    def forget(self, before_ms: int, waiting_before_ms: int = -1) -> Keys:
        """Let go of the items whose newest event is older, except those not yet written; returns their keys. Those that
        wait have a moment of their own; nobody needs to know of them.
        """
        n = len(self)
        kept, last_ms = self._kept[:n], self._last_ms[:n]
        return self._let_go(np.where(kept, (last_ms < before_ms) & ~self._unwritten[:n], last_ms < waiting_before_ms))

    def bound(self, kept: int, waiting: int) -> Keys:
        """Where there are more items than so many, let go of those least clicked, by their decayed clicks: an eighth of
        those kept, half of those that wait. Returns the keys of those that were kept. Which of two items goes first
        does not depend on when that is asked.
        """
        n = len(self)
        gone = np.zeros(n, np.bool_)
        for most, leaves, rows in (
            (kept, kept - kept // 8, np.flatnonzero(self._kept[:n])),
            (waiting, waiting // 2, np.flatnonzero(~self._kept[:n])),
        ):
            if len(rows) > most:
                gone[rows[np.argpartition(self._heat(rows), len(rows) - leaves - 1)[: len(rows) - leaves]]] = True
        return self._let_go(gone)

    def _heat(self, rows: Int64s) -> Float64s:
        """Return log2 of the decayed clicks of rows (n,), carried to one instant."""
        clicks = np.maximum(self._sums[rows, _POPULARITY], _LEAST_CLICKS)
        heat: Float64s = np.log2(clicks) + self._landmark_ms[rows] / self._rules.half_life_ms
        return heat

    def _let_go(self, gone: Bools) -> Keys:
        keys = self.keys[gone & self._kept[: len(self)]]
        if gone.any():
            self._hold(self._saved(np.flatnonzero(~gone)))
        return keys

    def saved(self) -> SavedCounts:
        """Return a copy of all that is held."""
        return self._saved(np.arange(len(self)))

    def _rows_of(self, updates: Updates) -> Int64s:
        items = np.ascontiguousarray(updates["item"])
        rows = self._rows.rows_of(items)
        if (rows < 0).any():
            new = np.unique(items[rows < 0])
            places = self._rows.add(new)
            self._grow()
            self._keys[places] = new
            self._kept[places] = self._rules.visitors == 1
            rows = self._rows.rows_of(items)
        return rows.astype(np.int64)

    def _grow(self) -> None:
        wanted = len(self)
        if wanted <= len(self._keys):
            return
        self._keys = grown(self._keys, wanted)
        self._landmark_ms = grown(self._landmark_ms, wanted, fill=-1)
        self._last_ms = grown(self._last_ms, wanted, fill=-1)
        self._sums = grown(self._sums, wanted)
        self._origins = grown(self._origins, wanted)
        self._announced = grown(self._announced, wanted)
        self._unwritten = grown(self._unwritten, wanted)
        self._kept = grown(self._kept, wanted)
        self._visits = grown(self._visits, wanted)
        self._places = grown(self._places, wanted)

    def _enlarge_pool(self) -> None:
        """Move all pairs into a pool with twice the room that they have: what was left behind is let go."""
        room = int(self._places[:, 1].sum())
        size = max(_LEAST_POOL, 2 * room + 2 * (self._rules.tracked + 1))
        keys, sums = np.empty(size, np.uint64), np.empty((size, PAIR_COUNTS))
        self._pool_end[0] = move_pairs(self._places, self._pool_keys, self._pool_sums, keys, sums)
        self._pool_keys, self._pool_sums = keys, sums

    def _read(self, rows: Int64s, as_of_ms: int) -> TrendArrays:
        n, most = len(rows), int(np.minimum(self._places[rows, 2], self._rules.neighbours).sum())
        made = TrendArrays(
            self._keys[rows],
            np.empty(n, np.int64),
            np.empty((n, len(TREND_COUNTS)), np.float32),
            self._origins[rows].astype(np.float32),
            np.zeros(n + 1, np.int64),
            np.empty(most, np.uint64),
            np.empty((most, PAIR_COUNTS), np.float32),
        )
        read_rows(
            rows,
            as_of_ms,
            self._landmark_ms,
            self._last_ms,
            self._sums,
            self._places,
            self._pool_keys,
            self._pool_sums,
            self._paces,
            self._limits,
            made.as_of_ms,
            made.counts,
            made.starts,
            made.neighbours,
            made.weights,
        )
        return made

    def _saved(self, rows: Int64s) -> SavedCounts:
        places = self._places[rows]
        counts, starts = places[:, 2], places[:, 0]
        ends = np.cumsum(counts)
        at = np.arange(int(counts.sum())) + np.repeat(starts - (ends - counts), counts)
        return SavedCounts(
            self._keys[rows],
            self._landmark_ms[rows],
            self._last_ms[rows],
            self._sums[rows],
            self._origins[rows],
            self._announced[rows],
            self._unwritten[rows],
            self._kept[rows],
            self._visits[rows],
            counts.copy(),
            self._pool_keys[at],
            self._pool_sums[at],
        )

    def _hold(self, saved: SavedCounts) -> None:
        counts = saved.pair_counts
        self._rows = KeyRows.with_room(len(saved.keys))
        self._rows.add(saved.keys)
        self._keys = saved.keys.copy()
        self._landmark_ms = saved.landmark_ms.copy()
        self._last_ms = saved.last_ms.copy()
        self._sums = saved.sums.copy()
        self._origins = saved.origins.copy()
        self._announced = saved.announced.copy()
        self._unwritten = saved.unwritten.copy()
        self._kept = saved.kept.copy()
        self._visits = saved.visits.copy()
        self._places = np.stack([np.cumsum(counts) - counts, counts, counts], axis=1)
        self._pool_keys = saved.pair_keys.copy()
        self._pool_sums = saved.pair_sums.copy()
        self._pool_end = np.array([len(saved.pair_keys)], np.int64)


def _nothing(rules: TrendRules) -> SavedCounts:
    return SavedCounts(
        keys=np.zeros(0, np.uint64),
        landmark_ms=np.zeros(0, np.int64),
        last_ms=np.zeros(0, np.int64),
        sums=np.zeros((0, len(TREND_COUNTS))),
        origins=np.zeros((0, len(ClickOrigin))),
        announced=np.zeros(0, np.bool_),
        unwritten=np.zeros(0, np.bool_),
        kept=np.zeros(0, np.bool_),
        visits=np.zeros((0, rules.visitors - 1), np.uint64),
        pair_counts=np.zeros(0, np.int64),
        pair_keys=np.zeros(0, np.uint64),
        pair_sums=np.zeros((0, PAIR_COUNTS)),
    )


def _with_visits(saved: SavedCounts, rules: TrendRules) -> SavedCounts:
    """Return what was saved, also by rules that wanted another number of visitors: nobody is noted then."""
    if saved.visits.shape[1] == rules.visitors - 1:
        return saved
    none = np.zeros((len(saved.keys), rules.visitors - 1), np.uint64)
    return replace(saved, visits=none, kept=saved.kept | (rules.visitors == 1))
