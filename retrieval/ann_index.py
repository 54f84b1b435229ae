"""Nearest items to a query vector: all are compared while the catalogue is small, graphs when it is large.

Rows of `CatalogueColumns` are the names of items here; a deleted item, or one without a vector of the wanted model, is
never found. Over a snapshot there are two graphs: the base, mapped and never written, and the delta, this process's
own, of what changed since. What the base holds of a changed item is superseded and hidden. Graphs find candidates; the
similarities that rank them are computed from the columns' vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from retrieval.catalogue import CatalogueColumns
from retrieval.columns import grown
from retrieval.exact_search import search_all, search_rows
from retrieval.filters import Filter, Mask, left_by, lets_through, mask_of
from retrieval.graph import Float32s, Graph, GraphOptions, add_rows, empty_graph, remove_rows
from retrieval.int8_search import Int8Vectors
from retrieval.key_rows import Rows
from retrieval.layers import Layer, search_layers

__all__ = ["EXACT_UP_TO", "AnnIndex", "Filter", "IndexSize", "RebuildPlan"]

Observer = Callable[[Float32s, int, Rows, Sequence[Filter | None]], None]
"""Told of every search: queries (b, d), k, rows (b, k), filters."""
NO_FILTERS: Sequence[Filter | None] = ()

EXACT_UP_TO = 30_000
"""Items up to which exact search serves. Measured on one busy core at 128 dimensions, k=60, one query: 0.18 ms at 18k,
0.28 at 30k, 0.46 at 60k items; the graph took 0.40, 0.66 and 0.78 ms with recall .95 to .99. The other side of it is a
byte a number in every process."""
_REBUILD_AT = 0.25
"""Share of removed nodes at which the graph is built anew: they cost search time and recall, and are not reclaimed."""


def delta_options(base: GraphOptions) -> GraphOptions:
    """Return how the graph of what changed since a snapshot is built: it holds a tenth or so of the items, so two
    thirds of the links and of the width find as much, at half the CPU a changed item (131 us against 262 at 128
    dimensions) and three quarters of a search's."""
    return replace(
        base, connectivity=max(4, base.connectivity * 2 // 3), expansion_add=max(16, base.expansion_add * 3 // 5)
    )


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
        found = catalogue.alive[: catalogue.count] & catalogue.has_vector[: catalogue.count]
        self._penalty = np.where(found, np.float32(0), np.float32(-np.inf))
        self._live = int(found.sum())
        self._graph: Graph | None = None
        self._removed = 0
        self._since_plan: set[int] | None = None
        self._int8: Int8Vectors | None = None
        self._base: Layer | None = None
        self._layers: list[Layer] = []
        self.observer: Observer | None = None
        if base is not None:
            self._base = Layer(base, self._options.expansion, np.zeros(catalogue.count, np.bool_))
            self._graph = empty_graph(catalogue.dim or 1, delta_options(self._options))
            self._lay()

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
    def width(self) -> int:
        """How wide graphs are searched."""
        return self._options.expansion

    @property
    def base_graph(self) -> Graph | None:
        """The snapshot's graph alone; None without one."""
        return None if self._base is None else self._base.graph

    @property
    def size(self) -> IndexSize:
        delta = 0 if self._graph is None else len(self._graph)
        base, hidden = (len(self._base.graph), self._base.hiding) if self._base is not None else (0, 0)
        return IndexSize(self._live, base, delta, hidden)

    def take_missing(self) -> Sequence[str]:
        """Return what `degraded` says of the searches since the last call."""
        return ()

    def replace_in_place(self, other: AnnIndex) -> None:
        """Be what `other` is, at once, over columns that became `other`'s. `other` must not be used any more."""
        catalogue, observer = self._catalogue, self.observer
        self.__dict__.update(other.__dict__)
        self._catalogue, self.observer = catalogue, observer

    def frozen(self) -> AnnIndex:
        """Return a shallow copy that another thread may search exactly while this one goes on."""
        still = copy(self)
        still._catalogue, still.observer = self._catalogue.frozen(), None
        return still

    def apply(self, rows: Rows) -> None:
        """Look again at rows whose vector or life changed (`Applied.reindex`)."""
        found, was = self._look_again(rows)
        if self.is_exact and self._live:
            self._in_int8().take(self._catalogue.vectors, rows[found])
        else:
            self._int8 = None
        if self._since_plan is not None:
            self._since_plan.update(rows.tolist())
        if self._base is not None:
            self._base.hide(rows, was)
        if self._graph is not None:
            self._replace(self._graph, rows, found)
        for layer in self._layers:
            layer.set_width(self._live)

    def search(self, queries: Float32s, k: int, wanted: Sequence[Filter | None] = NO_FILTERS) -> tuple[Rows, Float32s]:
        """Return the k most similar items of unit queries (b, d): rows (b, k) and similarities (b, k), best first.

        `wanted` has one filter a query, or is empty: a query finds what its filter lets through. Where that is fewer
        than k items the rest is row -1 with similarity 0, and never otherwise: graphs are asked for more and more, and
        when that would take more than looking at all items that the filter leaves, those are looked at.
        """
        self._expect_dim(queries)
        most = min(k, self._live)
        if not most or not len(queries):
            rows, similarity = _padded([], len(queries), k)
        elif self.is_exact:
            rows, similarity = self._search_int8(queries, k, wanted)
        else:
            filters = wanted or [None] * len(queries)
            found = [self._search_graphs(query, most, one) for query, one in zip(queries, filters, strict=True)]
            rows, similarity = _padded(found, len(queries), k)
        if self.observer is not None:
            self.observer(queries, k, rows, wanted)
        return rows, similarity

    def left_by(self, wanted: Filter) -> dict[str, int]:
        """Return how many items can be found (`items`), and how many of them each part of a filter, in turn, leaves.
        Looks at every row."""
        return left_by(self._catalogue, self._searchable(), wanted)

    @contextmanager
    def widened(self, expansion: int) -> Iterator[None]:
        """Search graphs with another width for a while: for measuring."""
        for layer in self._layers:
            layer.width = expansion
            layer.set_width(self._live)
        try:
            yield
        finally:
            for layer in self._layers:
                layer.width = self._options.expansion
                layer.set_width(self._live)

    def search_exact(
        self, queries: Float32s, k: int, wanted: Sequence[Filter | None] = NO_FILTERS
    ) -> tuple[Rows, Float32s]:
        """`search`, but always over every item: what recall is measured against."""
        rows, similarity = search_all(self._catalogue.vectors, self._penalties(wanted), queries, min(k, self._live))
        if wanted:
            hidden = similarity == -np.inf
            rows, similarity = np.where(hidden, np.int32(-1), rows), np.where(hidden, np.float32(0), similarity)
        return rows, similarity

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
        rows = self._searchable()
        return RebuildPlan(rows, self._catalogue.vectors[rows], self._options)

    def adopt(self, graph: Graph) -> Graph:
        """Serve a graph that was built from the last plan, after taking over what changed since. Returns it."""
        changed = np.array(sorted(self._since_plan or ()), np.int32)
        self._since_plan = None
        self._removed = 0
        self._replace(graph, changed, self._penalty[changed] == 0)
        self._graph = graph
        self._lay()
        return graph

    def rebuild(self) -> bool:
        """Build and adopt a new graph here and now, if one is due. Returns whether it was."""
        plan = self.plan_rebuild()
        if plan is not None:
            self.adopt(plan.build())
        return plan is not None

    def _look_again(self, rows: Rows) -> tuple[Mask, Mask]:
        """Hide and show rows (n,) as the catalogue says. Returns which can be found now, and which could so far."""
        self._penalty = grown(self._penalty, self._catalogue.count, fill=-np.inf)
        found = self._catalogue.alive[rows] & self._catalogue.has_vector[rows]
        was = self._penalty[rows] == 0
        self._penalty[rows] = np.where(found, np.float32(0), np.float32(-np.inf))
        self._live += int(found.sum()) - int(was.sum())
        return found, was

    def _expect_dim(self, queries: Float32s) -> None:
        if queries.ndim != 2 or (self._live and queries.shape[1] != self._catalogue.dim):
            raise ValueError(
                f"expected queries of shape (b, {self._catalogue.dim}), got {queries.shape}: "
                "load the encoder that the catalogue was embedded with"
            )

    def _replace(self, graph: Graph, rows: Rows, found: Mask) -> None:
        self._removed += remove_rows(graph, rows)
        add_rows(graph, rows[found], self._catalogue.vectors[rows[found]])

    def _lay(self) -> None:
        """Search what there is now: the base, if any, and this process's own graph."""
        own = [] if self._graph is None else [Layer(self._graph, self._options.expansion)]
        self._layers = own if self._base is None else [self._base, *own]
        for layer in self._layers:
            layer.set_width(self._live)

    def _searchable(self) -> Rows:
        return np.flatnonzero(self._penalty[: self._catalogue.count] == 0).astype(np.int32)

    def _search_int8(self, queries: Float32s, k: int, wanted: Sequence[Filter | None]) -> tuple[Rows, Float32s]:
        filters = list(wanted) or [None] * len(queries)
        distinct = list(dict.fromkeys(filters))
        found = self._penalty[: self._catalogue.count] == 0
        masks = [mask_of(self._catalogue, found, one) for one in distinct]
        which = np.array([distinct.index(one) for one in filters], np.int32)
        table = masks[0][None] if len(masks) == 1 else np.stack(masks)  # (m, n)
        return self._in_int8().search(self._catalogue.vectors, table, which, queries, k)

    def _in_int8(self) -> Int8Vectors:
        """Return what exact search compares first, made when it is first wanted."""
        if self._int8 is None:
            self._int8 = Int8Vectors()
            self._int8.take(self._catalogue.vectors, self._searchable())
        return self._int8

    def _penalties(self, wanted: Sequence[Filter | None]) -> Float32s:
        """Return what hides items from queries: (n,) for all of them alike, or (b, n)."""
        of = {one: self._penalty_of(one) for one in set(wanted or (None,))}
        return next(iter(of.values())) if len(of) == 1 else np.stack([of[one] for one in wanted])

    def _penalty_of(self, wanted: Filter | None) -> Float32s:
        every = self._penalty[: self._catalogue.count]
        if wanted is None:
            return every
        rows = self._searchable()
        penalty = np.full_like(every, -np.inf)
        penalty[rows[lets_through(self._catalogue, rows, wanted)]] = 0
        return penalty

    def _search_graphs(self, query: Float32s, k: int, wanted: Filter | None) -> tuple[Rows, Float32s]:
        """Ask the graphs until the k best are certain, or else look at everything."""
        keep = None if wanted is None else partial(lets_through, self._catalogue, wanted=wanted)
        best, values, certain = search_layers(
            self._layers,
            self._catalogue.vectors,
            query,
            k,
            searchable=self._live,
            keep=keep,
        )
        if certain:
            return best.astype(np.int32), values
        rows = self._searchable()
        return search_rows(self._catalogue.vectors, rows if keep is None else rows[keep(rows)], query, k)


def _padded(found: Sequence[tuple[Rows, Float32s]], count: int, k: int) -> tuple[Rows, Float32s]:
    """Return answers of up to k rows each as arrays (count, k): row -1 with similarity 0 where there are fewer."""
    if len(found) == 1 and len(found[0][0]) == k:
        return found[0][0][None], found[0][1][None]
    rows = np.full((count, k), -1, np.int32)
    similarity = np.zeros((count, k), np.float32)
    for at, (best, values) in enumerate(found):
        rows[at, : len(best)], similarity[at, : len(best)] = best, values
    return rows, similarity
