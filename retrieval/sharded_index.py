"""The index of a process whose items are searched by others: shards find candidates, this process ranks them exactly.

The columns stay here whole: sessions, features and rules read them. What the shards do not have yet (changes that they
have not taken) is compared here, item by item, so that what this process has taken is found at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from retrieval.ann_index import NO_FILTERS, AnnIndex, IndexSize, RebuildPlan
from retrieval.catalogue import CatalogueColumns
from retrieval.exact_search import search_rows
from retrieval.filters import Filter, lets_through
from retrieval.key_rows import Rows
from retrieval.scatter import Scatter
from retrieval.shard_frames import MOST_K, Answer, Float32s, Places, Search

MISSING = "index_shards"
"""In `degraded`: a shard did not answer, so that its items were not looked through."""
MOST_WAITING = 10_000
"""Changed items that are compared here, at most: the newest."""
_AT_ONCE = 16
"""Queries in one question to the shards: the deadline is for so many."""
_DEEPER = 4
_ROUNDING = 1e-5


class ShardedIndex(AnnIndex):
    """Searches by asking the shards. Without `scatter` nothing is ever found: for who follows the table and does not
    search. `numbers` returns the next changes that this process takes, of each shard of the table; None while it loads.
    """

    def __init__(self, catalogue: CatalogueColumns) -> None:
        super().__init__(catalogue)
        self.scatter: Scatter | None = None
        self.numbers: Callable[[], Places | None] = lambda: None
        self._waiting: list[tuple[Places | None, Rows]] = []
        """Changed rows, oldest first, with the changes that a shard must have taken before it has them."""
        self._missing = False

    @property
    def is_exact(self) -> bool:
        return not len(self)

    @property
    def size(self) -> IndexSize:
        return IndexSize(len(self), len(self), sum(len(rows) for _, rows in self._waiting), 0)

    def plan_rebuild(self) -> RebuildPlan | None:
        return None

    def take_missing(self) -> Sequence[str]:
        missing, self._missing = self._missing, False
        return (MISSING,) if missing else ()

    def apply(self, rows: Rows) -> None:
        self._look_again(rows)
        if not len(rows):
            return
        self._waiting = [*self._waiting, (None, rows[-MOST_WAITING:].astype(np.int32))]
        while sum(len(some) for _, some in self._waiting[1:]) >= MOST_WAITING:
            self._waiting = self._waiting[1:]

    def search(self, queries: Float32s, k: int, wanted: Sequence[Filter | None] = NO_FILTERS) -> tuple[Rows, Float32s]:
        self._expect_dim(queries)
        rows, similarity = np.full((len(queries), k), -1, np.int32), np.zeros((len(queries), k), np.float32)
        if k and len(self) and len(queries) and self.scatter is not None:
            filters = list(wanted) or [None] * len(queries)
            for at in range(0, len(queries), _AT_ONCE):
                end = at + _AT_ONCE
                for place, (best, values) in enumerate(self._found(queries[at:end], k, filters[at:end]), start=at):
                    rows[place, : len(best)], similarity[place, : len(best)] = best, values
        if self.observer is not None:
            self.observer(queries, k, rows, wanted)
        return rows, similarity

    def _found(self, queries: Float32s, k: int, filters: Sequence[Filter | None]) -> list[tuple[Rows, Float32s]]:
        """Ask for more and more for the queries whose filter, or what changed since, left too few."""
        found: list[tuple[Rows, Float32s]] = [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * len(queries)
        short, depth = list(range(len(queries))), min(k, MOST_K)
        while short:
            answers = self._asked(queries[short], depth, [filters[at] for at in short])
            waiting = self._not_taken()
            keys, floors = _joined(answers, len(short))
            rows = self._catalogue.rows_of(keys)  # (s, everything)
            still: list[int] = []
            for place, at in enumerate(short):
                some = np.unique(np.concatenate([rows[place], waiting]))
                found[at] = self._best(queries[at], some, k, filters[at])
                last = float(found[at][1][-1]) if len(found[at][1]) == k else -np.inf
                if floors[place] > last + _ROUNDING:
                    still.append(at)
            if still and depth >= MOST_K:
                for at in still:
                    found[at] = self._among_all(queries[at], k, filters[at])
                break
            short, depth = still, min(_DEEPER * depth, MOST_K)
        return found

    def _asked(self, queries: Float32s, depth: int, filters: Sequence[Filter | None]) -> list[Answer]:
        assert self.scatter is not None
        numbers = self.numbers()
        if numbers is not None:
            self._waiting = [(numbers if stamp is None else stamp, rows) for stamp, rows in self._waiting]
        model = self._catalogue.model_version or 0
        answers = self.scatter.ask(Search(model, 0, 0, depth, queries, filters))
        self._missing |= any(answer is None for answer in answers)
        for line, answer in zip(self.scatter.lines, answers, strict=True):
            if answer is not None and numbers is not None:
                line.behind = sum(max(0, ours - its) for ours, its in zip_longest(numbers, answer.numbers, fillvalue=0))
        return [answer for answer in answers if answer is not None]

    def _not_taken(self) -> Rows:
        """Return the changed rows that some shard may not have, and forget the others."""
        assert self.scatter is not None
        lines = self.scatter.lines
        self._waiting = [
            (stamp, rows)
            for stamp, rows in self._waiting
            if stamp is None or not all(line.has(stamp) for line in lines)
        ]
        if not self._waiting:
            return np.zeros(0, np.int32)
        return np.concatenate([rows for _, rows in self._waiting])[-MOST_WAITING:]

    def _best(self, query: Float32s, rows: NDArray[np.int32], k: int, wanted: Filter | None) -> tuple[Rows, Float32s]:
        rows = rows[rows >= 0]
        rows = rows[self._penalty[rows] == 0]
        if wanted is not None:
            rows = rows[lets_through(self._catalogue, rows, wanted)]
        return search_rows(self._catalogue.vectors, rows, query, k)

    def _among_all(self, query: Float32s, k: int, wanted: Filter | None) -> tuple[Rows, Float32s]:
        return self._best(query, self._searchable(), k, wanted)


def _joined(answers: Sequence[Answer], count: int) -> tuple[NDArray[np.uint64], Float32s]:
    """Return the keys that shards answered to so many queries, side by side; and above which similarity one of them may
    hold more, (count,): -inf where all have shown everything.
    """
    floors = np.full(count, -np.inf, np.float32)
    keys = [np.zeros((count, 0), np.uint64)]
    for answer in answers:
        keys.append(np.where(answer.similarity > -np.inf, answer.keys, np.uint64(0)))
        floors = np.maximum(floors, answer.similarity[:, -1])
    return np.concatenate(keys, axis=1), floors
