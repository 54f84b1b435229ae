"""Nearest items to a query vector: exact while the catalogue is small, a graph (HNSW) when it is large.

The only module that knows usearch. Similarity is the inner product of unit vectors. Rows of `CatalogueColumns` are the
names of items here; a deleted item, or one without a vector of the wanted model, is never found.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import CatalogueColumns
from retrieval.columns import grown
from retrieval.key_rows import Rows

# usearch's Linux wheel carries its own copy of the C++ library. Loaded first, it shadows the machine's, and XGBoost
# can then no longer read a number ("expect int but value='-1'", as in dmlc/xgboost#10224): the machine's comes first.
with suppress(OSError):
    ctypes.CDLL("libstdc++.so.6", mode=ctypes.RTLD_GLOBAL)

from usearch.index import Index

Float32s = NDArray[np.float32]

EXACT_UP_TO = 30_000
"""Items up to which exact search serves. Measured on one core at 64 dimensions, k=80, one query: 0.09 ms at 6k, 0.31
at 20k, 1.6 at 100k items; the graph takes 0.1 to 0.35 ms with recall .98 to .81."""
_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_REBUILD_AT = 0.25
"""Share of removed nodes at which the graph is built anew: they cost search time and recall, and are not reclaimed."""


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a new graph is built from: a copy, so that `build` may run in another thread while the old one serves."""

    rows: Rows
    vectors: Float32s
    expansion: int

    def build(self) -> Index:
        """Return the graph over the plan's rows. About 8,000 items a second on one core at 64 dimensions."""
        graph = _empty_graph(self.vectors.shape[1], self.expansion)
        graph.add(self.rows.astype(np.uint64), self.vectors, threads=1)
        return graph


class AnnIndex:
    """Searches the vectors of a catalogue. For one thread, which applies between searches.

    `exact_up_to` is the number of searchable items up to which no graph is used; `expansion` the graph's search width.
    """

    def __init__(self, catalogue: CatalogueColumns, *, exact_up_to: int = EXACT_UP_TO, expansion: int = 192) -> None:
        self._catalogue = catalogue
        self._exact_up_to = exact_up_to
        self._expansion = expansion
        self._penalty = np.zeros(0, np.float32)
        self._live = 0
        self._graph: Index | None = None
        self._removed = 0
        self._since_plan: set[int] | None = None
        self.apply(np.arange(catalogue.count, dtype=np.int32))

    def __len__(self) -> int:
        """How many items can be found."""
        return self._live

    @property
    def is_exact(self) -> bool:
        """Whether searches compare the query with every item."""
        return self._graph is None

    def apply(self, rows: Rows) -> None:
        """Look again at rows whose vector or life changed (`Applied.reindex`)."""
        self._penalty = grown(self._penalty, self._catalogue.count, fill=-np.inf)
        found = self._catalogue.alive[rows] & self._catalogue.has_vector[rows]
        was = self._penalty[rows] == 0
        self._penalty[rows] = np.where(found, np.float32(0), np.float32(-np.inf))
        self._live += int(found.sum()) - int(was.sum())
        if self._since_plan is not None:
            self._since_plan.update(rows.tolist())
        if self._graph is not None:
            self._replace(self._graph, rows, found)

    def search(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        """Return the k most similar items of unit queries (b, d): rows (b, k) and similarities (b, k), best first.

        Where there are fewer than k items the rest is row -1 with similarity 0.
        """
        if queries.ndim != 2 or (self._live and queries.shape[1] != self._catalogue.dim):
            raise ValueError(
                f"expected queries of shape (b, {self._catalogue.dim}), got {queries.shape}: "
                "load the encoder that the catalogue was embedded with"
            )
        rows = np.full((len(queries), k), -1, np.int32)
        similarity = np.zeros((len(queries), k), np.float32)
        wanted = min(k, self._live)
        if wanted and len(queries):
            search = self._search_all if self._graph is None else self._search_graph
            rows[:, :wanted], similarity[:, :wanted] = search(queries, wanted)
        return rows, similarity

    def search_exact(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        """`search`, but always over every item: what recall is measured against."""
        wanted = min(k, self._live)
        return self._search_all(queries, wanted)

    def plan_rebuild(self) -> RebuildPlan | None:
        """Return the plan of a new graph when one is due, else None. Every plan must be followed by `adopt`."""
        removed_share = self._removed / max(1, self._live)
        due = self._live > self._exact_up_to if self._graph is None else removed_share > _REBUILD_AT
        if not due or self._since_plan is not None:
            return None
        self._since_plan = set()
        rows = np.flatnonzero(self._penalty[: self._catalogue.count] == 0).astype(np.int32)
        return RebuildPlan(rows, self._catalogue.vectors[rows], self._expansion)

    def adopt(self, graph: Index) -> None:
        """Serve a graph that was built from the last plan, after taking over what changed since."""
        changed = np.array(sorted(self._since_plan or ()), np.int32)
        self._since_plan = None
        self._removed = 0
        self._replace(graph, changed, self._penalty[changed] == 0)
        self._graph = graph

    def rebuild(self) -> bool:
        """Build and adopt a new graph here and now, if one is due. Returns whether it was."""
        plan = self.plan_rebuild()
        if plan is not None:
            self.adopt(plan.build())
        return plan is not None

    def _replace(self, graph: Index, rows: Rows, found: NDArray[np.bool_]) -> None:
        held = np.atleast_1d(graph.contains(rows.astype(np.uint64))) if len(rows) else np.zeros(0, np.bool_)
        for row in rows[held].tolist():
            graph.remove(row)
        self._removed += int(held.sum())
        if found.any():
            graph.add(rows[found].astype(np.uint64), self._catalogue.vectors[rows[found]], threads=1)

    def _search_all(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        count = self._catalogue.count
        similarity = queries @ self._catalogue.vectors[:count].T  # (b, n)
        similarity += self._penalty[:count]
        if k < count:
            best = np.argpartition(similarity, count - k, axis=1)[:, count - k :]  # (b, k)
        else:
            best = np.broadcast_to(np.arange(count), similarity.shape)  # (b, n)
        values = np.take_along_axis(similarity, best, axis=1)  # (b, k)
        order = np.argsort(-values, axis=1)
        return (
            np.take_along_axis(best, order, axis=1).astype(np.int32),
            np.take_along_axis(values, order, axis=1),
        )

    def _search_graph(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        assert self._graph is not None
        matches = self._graph.search(queries, k, threads=1)
        if len(queries) == 1:  # usearch then answers in one dimension, with as many items as it found
            rows = np.full((1, k), -1, np.int32)
            distances = np.zeros((1, k), np.float32)
            rows[0, : len(matches.keys)], distances[0, : len(matches.keys)] = matches.keys, matches.distances
        else:
            beyond = np.arange(k) >= np.asarray(matches.counts)[:, None]  # (b, k)
            rows = np.where(beyond, -1, matches.keys.astype(np.int64)).astype(np.int32)
            distances = matches.distances
        hidden = (rows < 0) | (self._penalty[rows] != 0)
        return np.where(hidden, np.int32(-1), rows), np.where(hidden, np.float32(0), np.float32(1) - distances)


def _empty_graph(dim: int, expansion: int) -> Index:
    return Index(
        ndim=dim,
        metric="ip",
        dtype="bf16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=expansion,
    )
