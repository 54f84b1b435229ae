"""Nearest items to a query vector: exact while the catalogue is small, graphs when it is large.

Rows of `CatalogueColumns` are the names of items here; a deleted item, or one without a vector of the wanted model, is
never found. Over a snapshot there are two graphs: the base, mapped and never written, and the delta, this process's
own, of what changed since. What the base holds of a changed item is superseded and hidden. Graphs find candidates; the
similarities that rank them are computed from the columns' vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import CatalogueColumns
from retrieval.columns import grown
from retrieval.graph import Float32s, Graph, GraphOptions, add_rows, empty_graph, nearest, remove_rows
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]
Keep = Callable[[Rows], Mask]
"""Which of rows (any shape, all 0 or more) may be found."""
Observer = Callable[[Float32s, int, Rows], None]
"""Told of every plain search: queries (b, d), k, rows (b, k)."""

EXACT_UP_TO = 30_000
"""Items up to which exact search serves. Measured on one core at 64 dimensions, k=80, one query: 0.09 ms at 6k, 0.31
at 20k, 1.6 at 100k items; the graph takes 0.1 to 0.35 ms with recall .98 to .81."""
_REBUILD_AT = 0.25
"""Share of removed nodes at which the graph is built anew: they cost search time and recall, and are not reclaimed."""
_DEEPEST = 4096
"""Results asked of a graph at most; a search that needs more looks at everything instead."""
_DEEPER = 4
_OVERSAMPLED = 1.2
"""How many more results than wanted are ranked by their exact similarity."""
_ROUNDING = 0.01
"""What a graph's similarities, of lower precision, may be off by."""
_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a new graph is built from: a copy, so that `build` may run in another thread while the old one serves."""

    rows: Rows
    vectors: Float32s
    options: GraphOptions

    def build(self, threads: int = 1) -> Graph:
        """Return the graph over the plan's rows. About 8,000 items a second on one core at 64 dimensions."""
        graph = empty_graph(self.vectors.shape[1], self.options)
        add_rows(graph, self.rows, self.vectors, threads=threads)
        return graph


class IndexSize(NamedTuple):
    """What the index consists of, in items. `superseded` are nodes of the base that are hidden."""

    searchable: int
    base: int
    delta: int
    superseded: int


class Filter(NamedTuple):
    """What items must be, beside near. An empty filter lets all through."""

    category: str | None = None
    region: str | None = None
    in_stock: bool = False


class Found(NamedTuple):
    """Rows (k,), -1 beyond what there is, and similarities. `starved_by` says, where fewer than k were found, how many
    items each part of the filter leaves, in the order in which they were applied; empty for a full answer."""

    rows: Rows
    similarity: Float32s
    starved_by: dict[str, int]


class AnnIndex:
    """Searches the vectors of a catalogue. For one thread, which applies between searches.

    `exact_up_to` is the number of searchable items up to which no graph is used; `expansion` the graph's search width.
    `base` is a graph over the catalogue's rows as they are now, which is searched and never changed.
    """

    def __init__(
        self,
        catalogue: CatalogueColumns,
        *,
        exact_up_to: int = EXACT_UP_TO,
        expansion: int | None = None,
        options: GraphOptions | None = None,
        base: Graph | None = None,
    ) -> None:
        chosen = options or GraphOptions()
        self._options = chosen if expansion is None else replace(chosen, expansion=expansion)
        self._catalogue = catalogue
        self._exact_up_to = exact_up_to
        self._penalty = np.zeros(0, np.float32)
        self._live = 0
        self._graph: Graph | None = None
        self._removed = 0
        self._since_plan: set[int] | None = None
        self._base: Graph | None = None
        self._superseded = np.zeros(0, np.bool_)
        self._hidden = 0
        self.observer: Observer | None = None
        self.apply(np.arange(catalogue.count, dtype=np.int32))
        if base is not None:
            self._base = base
            self._superseded = np.zeros(catalogue.count, np.bool_)
            self._graph = empty_graph(catalogue.dim or 1, self._options)

    def __len__(self) -> int:
        """How many items can be found."""
        return self._live

    @property
    def is_exact(self) -> bool:
        """Whether searches compare the query with every item."""
        return self._graph is None or (self._base is not None and self._live <= self._exact_up_to)

    @property
    def catalogue(self) -> CatalogueColumns:
        """The columns that it searches."""
        return self._catalogue

    @property
    def has_base(self) -> bool:
        return self._base is not None

    @property
    def size(self) -> IndexSize:
        delta = 0 if self._graph is None else len(self._graph)
        return IndexSize(self._live, 0 if self._base is None else len(self._base), delta, self._hidden)

    def become(self, other: AnnIndex) -> None:
        """Be what `other` is, at once, over columns that became `other`'s. `other` must not be used any more."""
        catalogue, observer = self._catalogue, self.observer
        self.__dict__.update(other.__dict__)
        self._catalogue, self.observer = catalogue, observer

    def frozen(self) -> AnnIndex:
        """Return a shallow copy that another thread may search exactly while this one goes on."""
        still = copy(self)
        still._catalogue, still.observer = copy(self._catalogue), None
        return still

    def apply(self, rows: Rows) -> None:
        """Look again at rows whose vector or life changed (`Applied.reindex`)."""
        self._penalty = grown(self._penalty, self._catalogue.count, fill=-np.inf)
        found = self._catalogue.alive[rows] & self._catalogue.has_vector[rows]
        was = self._penalty[rows] == 0
        self._penalty[rows] = np.where(found, np.float32(0), np.float32(-np.inf))
        self._live += int(found.sum()) - int(was.sum())
        if self._since_plan is not None:
            self._since_plan.update(rows.tolist())
        if self._base is not None:
            based = rows[rows < len(self._superseded)]
            fresh = based[~self._superseded[based] & was[rows < len(self._superseded)]]
            self._superseded[based] = True
            self._hidden += len(fresh)
        if self._graph is not None:
            self._replace(self._graph, rows, found)

    def search(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        """Return the k most similar items of unit queries (b, d): rows (b, k) and similarities (b, k), best first.

        Where there are fewer than k items the rest is row -1 with similarity 0.
        """
        self._expect_dim(queries)
        rows = np.full((len(queries), k), -1, np.int32)
        similarity = np.zeros((len(queries), k), np.float32)
        wanted = min(k, self._live)
        if wanted and len(queries):
            search = self._search_all if self.is_exact else self._search_graphs
            rows[:, :wanted], similarity[:, :wanted] = search(queries, wanted)
        if self.observer is not None:
            self.observer(queries, k, rows)
        return rows, similarity

    def search_where(self, query: Float32s, k: int, wanted: Filter) -> Found:
        """Return the k items most similar to a query (d,) among those that a filter lets through.

        Graphs are asked for more and more until k are found; when that would take more than looking at all items that
        the filter leaves, those are looked at. So the page is short only when there are no more such items.
        """
        self._expect_dim(query[None])
        rows, similarity = np.full(k, -1, np.int32), np.zeros(k, np.float32)
        if not self._live or not k:
            return Found(rows, similarity, self._starvation(wanted))
        if self.is_exact:
            best, values = self._search_kept(query, k, wanted)
        else:
            merged, scores = self._search_graphs(query[None], k, lambda some: self._lets_through(some, wanted), wanted)
            best, values = merged[0], scores[0]
        count = int((best >= 0).sum())
        rows[:count], similarity[:count] = best[:count], values[:count]
        return Found(rows, similarity, self._starvation(wanted) if count < k else {})

    def let_through(self, rows: Rows, wanted: Filter) -> Mask:
        """Return which rows, of the same shape, a filter lets through; -1 never."""
        return (rows >= 0) & self._lets_through(np.maximum(rows, 0), wanted)

    @contextmanager
    def widened(self, expansion: int) -> Iterator[None]:
        """Search graphs with another width for a while: for measuring."""
        graphs = [graph for graph in (self._base, self._graph) if graph is not None]
        for graph in graphs:
            graph.expansion_search = expansion
        try:
            yield
        finally:
            for graph in graphs:
                graph.expansion_search = self._options.expansion

    def search_exact(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        """`search`, but always over every item: what recall is measured against."""
        return self._search_all(queries, min(k, self._live))

    def plan_rebuild(self) -> RebuildPlan | None:
        """Return the plan of a new graph when one is due, else None. Every plan must be followed by `adopt`.

        Over a base none ever is: new bases come from the builder.
        """
        removed_share = self._removed / max(1, self._live)
        due = self._live > self._exact_up_to if self._graph is None else removed_share > _REBUILD_AT
        return self.plan_build() if due and self._base is None and self._since_plan is None else None

    def plan_build(self) -> RebuildPlan:
        """Return the plan of a graph over everything that can be found, due or not. `adopt` must follow."""
        self._since_plan = set()
        rows = np.flatnonzero(self._penalty[: self._catalogue.count] == 0).astype(np.int32)
        return RebuildPlan(rows, self._catalogue.vectors[rows], self._options)

    def adopt(self, graph: Graph) -> Graph:
        """Serve a graph that was built from the last plan, after taking over what changed since. Returns it."""
        changed = np.array(sorted(self._since_plan or ()), np.int32)
        self._since_plan = None
        self._removed = 0
        self._replace(graph, changed, self._penalty[changed] == 0)
        self._graph = graph
        return graph

    def rebuild(self) -> bool:
        """Build and adopt a new graph here and now, if one is due. Returns whether it was."""
        plan = self.plan_rebuild()
        if plan is not None:
            self.adopt(plan.build())
        return plan is not None

    def _expect_dim(self, queries: Float32s) -> None:
        if queries.ndim != 2 or (self._live and queries.shape[1] != self._catalogue.dim):
            raise ValueError(
                f"expected queries of shape (b, {self._catalogue.dim}), got {queries.shape}: "
                "load the encoder that the catalogue was embedded with"
            )

    def _replace(self, graph: Graph, rows: Rows, found: Mask) -> None:
        self._removed += remove_rows(graph, rows)
        add_rows(graph, rows[found], self._catalogue.vectors[rows[found]])

    def _search_all(self, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
        """Compare with every item, a slice of the rows at a time: memory stays small at any size."""
        count = self._catalogue.count
        best = np.zeros((len(queries), 0), np.int32)
        values = np.zeros((len(queries), 0), np.float32)
        for at in range(0, count, _AT_ONCE):
            end = min(at + _AT_ONCE, count)
            similarity = queries @ self._catalogue.vectors[at:end].T  # (b, n)
            similarity += self._penalty[at:end]
            rows = np.broadcast_to(np.arange(at, end, dtype=np.int32), similarity.shape)  # (b, n)
            rows, similarity = _largest(rows, similarity, k)
            best, values = np.concatenate([best, rows], axis=1), np.concatenate([values, similarity], axis=1)
        best, values = _largest(best, values, k)
        return _sorted(best, values)

    def _search_kept(self, query: Float32s, k: int, wanted: Filter | None) -> tuple[Rows, Float32s]:
        """Compare with every item that a filter lets through. Returns rows (n,) and similarities, n at most k."""
        rows = np.flatnonzero(self._penalty[: self._catalogue.count] == 0).astype(np.int32)
        if wanted is not None:
            rows = rows[self._lets_through(rows, wanted)]
        parts = [self._catalogue.vectors[rows[at : at + _AT_ONCE]] @ query for at in range(0, len(rows), _AT_ONCE)]
        similarity = np.concatenate([*parts, np.zeros(0, np.float32)])
        found, values = _sorted(*_largest(rows[None], similarity[None], k))
        return found[0], values[0]

    def _search_graphs(
        self, queries: Float32s, k: int, keep: Keep | None = None, wanted: Filter | None = None
    ) -> tuple[Rows, Float32s]:
        """Ask the graphs for more until each query's k best are certain: none unseen can be nearer than the k-th."""
        rows = np.full((len(queries), k), -1, np.int32)
        similarity = np.zeros((len(queries), k), np.float32)
        waiting = np.arange(len(queries))
        depth = self._first_depth(k)
        while len(waiting):
            found, scores, unseen = self._fetch(queries[waiting], depth)
            if keep is not None:
                scores[~keep(found)] = -np.inf
            best, values = _sorted(*_largest(found, scores, k))
            dead = values == -np.inf
            rows[waiting, : best.shape[1]] = np.where(dead, np.int32(-1), best)
            similarity[waiting, : best.shape[1]] = np.where(dead, np.float32(0), values)
            last = values[:, -1] if best.shape[1] == k else np.full(len(waiting), -np.inf)
            waiting = waiting[(unseen > -np.inf) & (last < unseen - _ROUNDING)]
            if depth >= _DEEPEST:
                break
            depth = min(_DEEPEST, depth * _DEEPER)
        for at in waiting.tolist():
            best, values = self._search_kept(queries[at], k, wanted)
            rows[at, : len(best)], similarity[at, : len(best)] = best, values
        return rows, similarity

    def _fetch(self, queries: Float32s, depth: int) -> tuple[Rows, Float32s, Float32s]:
        """Return what the graphs find: rows (b, w), exact similarities (-inf: hidden), and above which similarity (b,)
        nothing is unseen; -inf where everything was seen."""
        parts, unseen = [], np.full(len(queries), -np.inf, np.float32)
        for graph, superseded in ((self._base, self._superseded), (self._graph, None)):
            if graph is None or not len(graph):
                continue
            asked = min(depth, len(graph))
            rows, near = nearest(graph, queries, asked)
            if asked < len(graph):
                unseen = np.maximum(unseen, near[:, -1])
            if superseded is not None:
                rows = np.where((rows >= 0) & superseded[rows], np.int32(-1), rows)
            parts.append(rows)
        rows = np.concatenate([*parts, np.full((len(queries), 0), -1, np.int32)], axis=1)  # (b, w)
        hidden = (rows < 0) | (self._penalty[rows] != 0)
        exact = np.matmul(self._catalogue.vectors[rows], queries[:, :, None])[:, :, 0]  # (b, w)
        return np.where(hidden, np.int32(0), rows), np.where(hidden, np.float32(-np.inf), exact), unseen

    def _first_depth(self, k: int) -> int:
        shown = 1.0 - self._hidden / max(1, len(self._superseded))
        return min(_DEEPEST, int(np.ceil(_OVERSAMPLED * k / max(shown, 0.25))) + 4)

    def _lets_through(self, rows: Rows, wanted: Filter) -> Mask:
        kept = np.ones(rows.shape, np.bool_)
        for _, part in self._parts(wanted):
            kept &= part(rows.ravel()).reshape(rows.shape)
        return kept

    def _parts(self, wanted: Filter) -> list[tuple[str, Keep]]:
        catalogue = self._catalogue
        parts: list[tuple[str, Keep]] = []
        if wanted.category:
            parts.append(("category", lambda rows: catalogue.below_category(rows, wanted.category or "")))
        if wanted.region is not None:
            parts.append(("region", lambda rows: catalogue.sold_in(rows, wanted.region)))
        if wanted.in_stock:
            parts.append(("in_stock", lambda rows: catalogue.stock[rows] > 0))
        return parts

    def _starvation(self, wanted: Filter) -> dict[str, int]:
        """Return how many searchable items are left by nothing, and then by each part of a filter."""
        rows = np.flatnonzero(self._penalty[: self._catalogue.count] == 0).astype(np.int32)
        left = {"items": len(rows)}
        for name, part in self._parts(wanted):
            rows = rows[part(rows)]
            left[name] = len(rows)
        return left


def _largest(rows: Rows, values: Float32s, k: int) -> tuple[Rows, Float32s]:
    """Return the k columns (or all, if fewer) with the largest values, in any order."""
    if values.shape[1] <= k:
        return rows, values
    best = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]  # (b, k)
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)


def _sorted(rows: Rows, values: Float32s) -> tuple[Rows, Float32s]:
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
