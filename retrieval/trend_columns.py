"""The trends table as arrays: the serving replica of what `retrieval.trends` counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiled.decay import cooled
from compiled.kernels import kernel, reads, writes
from contracts.codec import TREND_COUNTS, ItemTrend, ShowingBlock, encode_trend
from contracts.ids import ItemKey
from retrieval.columns import grown
from retrieval.groups import are_groups
from retrieval.key_rows import KeyRows, Keys, Rows
from retrieval.trend_rows import EncodedTrends, joined, write_trends
from retrieval.trends import ClickOrigin, TrendRules

Float32s = NDArray[np.float32]
PAIR_SHARES = 4
BOTH, AFTER, BEFORE, RECENT = range(PAIR_SHARES)
"""The shares of a pair: clicked after plus `backward` times clicked before, each of the two alone, and recently."""

_PRIOR_SHOWINGS = 20.0
"""How many showings at the overall rate an item's own rate is smoothed with."""
_AT = {name: at for at, name in enumerate(TREND_COUNTS)}
_TRENDING_EVERY_MS = 1000
_TRENDING_KEPT = 500
_TRENDS, _SHOWINGS = np.uint8(1), np.uint8(2)
_MOST_BITS = 60.0
"""Logarithm of the largest count there is: columns may be asked as of a time before their newest count."""


class TrendColumns:
    """The trends table as arrays: one row an item, or a group of visitors (`retrieval.groups`), which never trends. For
    one thread, which applies between reads.

    Counts of one pace halve together, so which of two items is the more popular never changes by itself: `heat`
    (log2 of popularity, carried to a common instant) orders them for good until the next change, and `recent_heat`
    does so for recent clicks.
    """

    def __init__(self, rules: TrendRules | None = None) -> None:
        self._rules = rules or TrendRules()
        self._rows = KeyRows()
        self._neighbours = np.zeros((0, self._rules.neighbours), np.uint64)
        self._shares = np.zeros((0, self._rules.neighbours, PAIR_SHARES), np.float16)
        self._keys = np.zeros(0, np.uint64)
        self._heat = np.full(0, -np.inf)
        self._recent_heat = np.full(0, -np.inf)
        self._as_of_ms = np.zeros(0, np.int64)
        self._counts = np.zeros((0, len(TREND_COUNTS)), np.float32)
        """(rows, counts) as of each row's own instant, in the order of TREND_COUNTS."""
        self._origins = np.zeros((0, len(ClickOrigin)), np.float32)
        self._showings = np.zeros((0, 2), np.float32)
        """(rows, 2) showings and clicked showings, as of each item's newest one."""
        self._click_rate = 0.0
        self.showings_version = 0
        """Grows with every change of showings."""
        """Clicks per showing over all items."""
        self._blocks: dict[int, tuple[Rows, float, float]] = {}
        """By block of showings: the rows of its items, and the sums of its counts."""
        self._held = np.zeros(0, np.uint8)
        """(rows,) bits: the item has trends, it is in a block of showings. A row without either is free."""
        self._sums = np.zeros(2)
        """Transitions over all items, and how many items were ever clicked."""
        self._room = np.empty((3, self._rules.neighbours, PAIR_SHARES), np.float32)
        self._trending: tuple[int, Keys] | None = None
        self._recent: tuple[int, Keys] | None = None
        self._total: tuple[int, float] | None = None

    def __len__(self) -> int:
        """How many items are held."""
        return self._rows.held

    @property
    def rules(self) -> TrendRules:
        return self._rules

    @property
    def keys(self) -> Keys:
        """The keys that are held, (n,), in row order."""
        return self._keys[self._held > 0]

    def held(self) -> list[int]:
        """Return the keys that have trends."""
        keys: list[int] = self._keys[self._held & _TRENDS > 0].tolist()
        return keys

    def apply(self, changes: Iterable[tuple[ItemKey, ItemTrend | None]]) -> None:
        """`apply_rows` for trends that are not encoded: they are rounded as rows of the table are."""
        self.apply_rows([(key, encode_trend(trend) if trend is not None else None) for key, trend in changes])

    def apply_rows(self, changes: Sequence[tuple[int, bytes | None]]) -> None:
        """Take table changes in order: an ItemKey and its row; None forgets the item. Changes are absolute: the last
        one of a key counts. What was never here is not forgotten.

        Raises ValueError for a row that is no trend such as the trends flow writes, OverflowError for a number that is
        no key; nothing is taken then.
        """
        latest = dict(changes)
        if len(latest) < len(changes):  # what a later row replaces is looked at too
            joined(changes)
        self._take(joined(list(latest.items())))

    def apply_encoded(self, changes: EncodedTrends) -> None:
        """As `apply_rows`, without an object for any of them."""
        changes.expect_trends()
        self._take(changes.latest())

    def _take(self, trends: EncodedTrends) -> None:
        """Take encoded trends that were looked at, of items that are all different."""
        keys, begins, ends = trends.keys, trends.begins, trends.ends
        rows, has_trends = self._rows.rows_of(keys), ends > begins
        new = np.flatnonzero((rows < 0) & has_trends)
        if len(new):
            rows[new] = self._rows.add(keys[new])
            self._grow()
        rules, room = self._rules, self._room.reshape(-1)
        shares = self._shares.view(np.uint16).reshape(len(self._shares), PAIR_SHARES * rules.neighbours)
        write_trends(
            trends.raw, begins, ends, keys, rows,
            _AT["popularity"], _AT["recent"], rules.half_life_ms, rules.recent_half_life_ms, rules.backward,
            self._keys, self._neighbours.view(np.uint8), shares, self._heat, self._recent_heat,
            self._as_of_ms, self._counts, self._origins, self._sums,
            self._room, room, room.view(np.uint8),
        )  # fmt: skip
        self._held[rows[has_trends]] |= _TRENDS
        lost = rows[~has_trends & (rows >= 0)]
        if len(lost):
            self._held[lost] &= ~_TRENDS
            self._free(lost)

    def apply_showings(self, changes: Iterable[tuple[int, ShowingBlock | None]]) -> None:
        """Take blocks of showings, by number; None forgets one. A block is absolute: items that it no longer holds have
        no showings.
        """
        for number, block in dict(changes).items():
            before = self._blocks.pop(number, None)
            if before is not None:
                self._showings[before[0]] = 0.0
                self._held[before[0]] &= ~_SHOWINGS
            if block is not None:
                rows = self._rows.add(block.keys)
                self._grow()
                self._keys[rows] = block.keys
                self._held[rows] |= _SHOWINGS
                self._showings[rows, 0], self._showings[rows, 1] = block.shown, block.clicked
                self._blocks[number] = (rows, float(block.shown.sum()), float(block.clicked.sum()))
            if before is not None:
                self._free(before[0])
        self.showings_version += 1
        shown = sum(shown for _, shown, _ in self._blocks.values())
        clicked = sum(clicked for _, _, clicked in self._blocks.values())
        self._click_rate = clicked / shown if shown > 1.0 else 0.0

    def blocks(self) -> list[int]:
        """Return the numbers of the blocks of showings that are held."""
        return list(self._blocks)

    def rows_of(self, keys: Keys) -> Rows:
        """Return each key's row, -1 for an item without trends: what `*_at` take, to look keys up once."""
        return self._rows.rows_of(keys)

    @property
    def slots(self) -> tuple[Keys, Rows]:
        """`rows_of` as arrays, for kernels: see `KeyRows.slots`."""
        return self._rows.slots

    @property
    def pairs(self) -> tuple[Keys, NDArray[np.uint16]]:
        """`neighbours_at` as arrays by row, for kernels: keys (rows, k), and shares (rows, k, 4) as bits of float16s
        of 0 or more (`compiled.lookups.half`).
        """
        return self._neighbours, self._shares.view(np.uint16)

    @property
    def heat(self) -> NDArray[np.float64]:
        """`popularity_at` as an array by row, for kernels: log2 of the decayed clicks, plus half-lives since 1970."""
        return self._heat

    @property
    def recent_heat(self) -> NDArray[np.float64]:
        """`recent_at` likewise, with recent half-lives."""
        return self._recent_heat

    def neighbours_of(self, keys: Keys) -> tuple[Keys, Float32s]:
        """Return the neighbours of each key, strongest first: (n, k) keys and (n, k, 4) shares; see `neighbours_at`."""
        return self.neighbours_at(self._rows.rows_of(keys))

    def neighbours_at(self, rows: Rows) -> tuple[Keys, Float32s]:
        """`neighbours_of` by row.

        A share is a co-visitation weight over the item's own decayed clicks, both of one pace and one instant: what a
        click on the item says about its neighbour, comparable between items and untouched by time, at most 1. They are
        told apart as `BOTH`, `AFTER`, `BEFORE` and `RECENT`. Padding has shares 0.
        """
        k = self._rules.neighbours
        known = rows >= 0
        if not len(self._rows):
            return np.zeros((len(rows), k), np.uint64), np.zeros((len(rows), k, PAIR_SHARES), np.float32)
        shares = self._shares[rows].astype(np.float32) * known[:, None, None]  # (n, k, 4)
        return self._neighbours[rows], shares

    def popularity_of(self, keys: Keys, now_ms: int) -> Float32s:
        """Return the decayed clicks of every key at `now_ms`, (n,); 0 for an item without trends."""
        return self.popularity_at(self._rows.rows_of(keys), now_ms)

    def ctr_of(self, keys: Keys) -> Float32s:
        """Return clicks per showing of every key, (n,), smoothed towards the rate over all items."""
        return self.ctr_at(self._rows.rows_of(keys))

    def views_of(self, keys: Keys, now_ms: int) -> Float32s:
        """Return the decayed views of every key at `now_ms`, (n,)."""
        return self.counts_at("views", self._rows.rows_of(keys), now_ms)

    def counts_at(self, name: str, rows: Rows, now_ms: int | NDArray[np.int64]) -> Float32s:
        """Return one of TREND_COUNTS of every row, decayed to `now_ms`, (n,): one instant, or one for every row."""
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        half_life_ms = self._rules.recent_half_life_ms if name == "recent" else self._rules.half_life_ms
        bits = np.minimum((self._as_of_ms[rows] - now_ms) / half_life_ms, _MOST_BITS)
        return (self._taken(name, rows) * np.exp2(bits)).astype(np.float32)

    def popularity_at(self, rows: Rows, now_ms: int | NDArray[np.int64]) -> Float32s:
        """`popularity_of` by row. `now_ms` is one instant, or one for every row."""
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        return _cooled(self._heat, rows, now_ms, self._rules.half_life_ms)

    def recent_at(self, rows: Rows, now_ms: int | NDArray[np.int64]) -> Float32s:
        """Return the recent clicks of every row at `now_ms`: one instant, or one for every row."""
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        return _cooled(self._recent_heat, rows, now_ms, self._rules.recent_half_life_ms)

    def ctr_at(self, rows: Rows) -> Float32s:
        """`ctr_of` by row."""
        rates = np.empty(len(rows), np.float32)
        _rate(self._showings, np.ascontiguousarray(rows, np.int32), self._click_rate, rates)
        return rates

    def shown_at(self, rows: Rows) -> Float32s:
        """Return how often every row's item was shown, and clicked where it was, (n, 2), as of its newest showing."""
        if not len(self._rows):
            return np.zeros((len(rows), 2), np.float32)
        counts = np.empty((len(rows), 2), np.float32)
        _take(self._showings, np.ascontiguousarray(rows, np.int32), 0, counts)
        return counts

    @property
    def transitions_per_item(self) -> float:
        """How many clicks an item has that came from another item (FORWARD or RETURN), on average over the items that
        were ever clicked.
        """
        return float(self._sums[0] / max(self._sums[1], 1.0))

    def origin_counts_at(self, rows: Rows) -> Float32s:
        """Return the clicks of every row by `ClickOrigin`, (n, 4), not decayed."""
        if not len(self._rows):
            return np.zeros((len(rows), len(ClickOrigin)), np.float32)
        counts = np.empty((len(rows), len(ClickOrigin)), np.float32)
        _take(self._origins, np.ascontiguousarray(rows, np.int32), 0, counts)
        return counts

    def trending(self, now_ms: int, k: int) -> Keys:
        """Return the `k` (at most 500) most popular keys, most popular first. Ordered anew once a second at most."""
        if self._trending is None or not 0 <= now_ms - self._trending[0] < _TRENDING_EVERY_MS:
            self._trending = (now_ms, self._hottest(self._heat))
        return self._trending[1][:k]

    def recent(self, now_ms: int, k: int) -> Keys:
        """Return the `k` (at most 500) keys most clicked lately, as `trending` does."""
        if self._recent is None or not 0 <= now_ms - self._recent[0] < _TRENDING_EVERY_MS:
            self._recent = (now_ms, self._hottest(self._recent_heat))
        return self._recent[1][:k]

    def click_shares(self, keys: Keys, now_ms: int) -> NDArray[np.float64]:
        """Return every key's share of the decayed clicks on all items, (n,); 0 for an item without trends. The sum over
        all items is made anew once a second at most.
        """
        if self._total is None or not 0 <= now_ms - self._total[0] < _TRENDING_EVERY_MS:
            heat = self._heat[: len(self._rows)]
            heat = heat[self._items(heat)]
            most = float(heat.max(initial=0.0))
            self._total = now_ms, most + float(np.log2(max(1.0, float(np.exp2(heat - most).sum()))))
        rows = self._rows.rows_of(keys)
        heat = self._heat.take(rows, mode="clip") if len(self._heat) else np.full(len(rows), -np.inf)
        shares: NDArray[np.float64] = np.where(rows >= 0, np.exp2(heat - self._total[1]), 0.0)
        return shares

    def _items(self, heat: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the rows of items that were clicked."""
        return np.flatnonzero((heat > -np.inf) & ~are_groups(self._keys[: len(heat)]))

    def _hottest(self, column: NDArray[np.float64]) -> Keys:
        heat, k = column[: len(self._rows)], _TRENDING_KEPT
        rows = self._items(heat)
        if len(rows) > k:
            rows = rows[np.argpartition(-heat[rows], k)[:k]]
        return self._keys[rows[np.argsort(-heat[rows], kind="stable")]]

    def _taken(self, name: str, rows: Rows) -> Float32s:
        """Return one of TREND_COUNTS of every row (n,), each as of its own instant."""
        if not len(self._rows):
            return np.zeros(len(rows), np.float32)
        counts = np.empty((len(rows), 1), np.float32)
        _take(self._counts, np.ascontiguousarray(rows, np.int32), _AT[name], counts)
        return counts[:, 0]

    def _grow(self) -> None:
        wanted = len(self._rows)
        if wanted <= len(self._keys):
            return
        self._keys = grown(self._keys, wanted)
        self._neighbours = grown(self._neighbours, wanted)
        self._shares = grown(self._shares, wanted)
        self._heat = grown(self._heat, wanted, fill=-np.inf)
        self._recent_heat = grown(self._recent_heat, wanted, fill=-np.inf)
        self._as_of_ms = grown(self._as_of_ms, wanted)
        self._counts = grown(self._counts, wanted)
        self._origins = grown(self._origins, wanted)
        self._showings = grown(self._showings, wanted)
        self._held = grown(self._held, wanted)

    def _free(self, rows: NDArray[np.integer[Any]]) -> None:
        """Let others take those of the rows that hold nothing any more."""
        empty = rows[self._held[rows] == 0]
        if len(empty):
            self._neighbours[empty] = 0
            self._rows.remove(self._keys[empty])


def _cooled(heat: NDArray[np.float64], rows: Rows, now_ms: int | NDArray[np.int64], half_life_ms: float) -> Float32s:
    """Return the counts of rows (n,) whose heat is given by row, at one instant or at one for every row."""
    now = np.ascontiguousarray(now_ms, np.int64).reshape(-1)
    if len(now) not in (1, len(rows)):
        raise ValueError(f"expected one moment, or one for each of {len(rows)} rows, got {len(now)}")
    counts = np.empty(len(rows), np.float32)
    _cool(heat, np.ascontiguousarray(rows, np.int32), now, half_life_ms, counts)
    return counts


@kernel(reads("f4", 2), reads("i4"), "i8", writes("f4", 2))
def _take(columns: Float32s, rows: Rows, first: int, taken: Float32s) -> None:
    """Write as many columns, from `first` on, of rows (n,) as `taken` (n, k) has; 0 for row -1."""
    for at in range(rows.shape[0]):
        for column in range(taken.shape[1]):
            taken[at, column] = columns[rows[at], first + column] if rows[at] >= 0 else 0.0


@kernel(reads("f8"), reads("i4"), reads("i8"), "f8", writes("f4"))
def _cool(
    heat: NDArray[np.float64], rows: Rows, now_ms: NDArray[np.int64], half_life_ms: float, counts: Float32s
) -> None:
    step = 0 if now_ms.shape[0] == 1 else 1
    for at in range(rows.shape[0]):
        counts[at] = 0.0
        if rows[at] >= 0:
            counts[at] = cooled(heat[rows[at]], now_ms[step * at], half_life_ms)


@kernel(reads("f4", 2), reads("i4"), "f8", writes("f4"))
def _rate(showings: Float32s, rows: Rows, overall: float, rates: Float32s) -> None:
    """Write clicked showings over showings of rows (n,), each smoothed towards the `overall` rate."""
    for at in range(rows.shape[0]):
        shown, clicked = 0.0, 0.0
        if rows[at] >= 0:
            shown, clicked = float(showings[rows[at], 0]), float(showings[rows[at], 1])
        rates[at] = (clicked + overall * _PRIOR_SHOWINGS) / (shown + _PRIOR_SHOWINGS)
