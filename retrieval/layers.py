"""Several graphs searched as one: what each finds is merged, ranked by exact similarity, and asked for again if needed.

A layer's graph may hold rows that must not be shown any more (`hidden`). Each layer is first asked for as many as its
share of the items makes likely; one that may still hold something nearer than the last result is asked for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Keep, Mask
from retrieval.graph import Graph, nearest, rounding_of
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]

DEEPEST = 4096
"""Results asked of a graph at most; a search that needs more looks at everything instead."""
_DEEPER = 4
_OVERSAMPLED, _AT_LEAST = 1.2, 16
"""How many more than wanted are ranked by their exact similarity; and how many at least a layer is asked for."""
_SMALL_SHARE, _NARROWER = 0.25, 3
"""A layer with fewer of the items than this share is searched so many times narrower: it is asked for fewer, and over
100,000 items recall@20 was .998 with width 64."""


class Reply(NamedTuple):
    """What a layer found: rows (n,), and the similarity above which it has nothing unseen; -inf: it has shown all."""

    rows: NDArray[np.intp]
    unseen: float


@dataclass(slots=True)
class Layer:
    """One graph of an index, searched with a width. `hidden` says by row what must not be shown, `hiding` of how many
    nodes that is so; without it, all may be. Mutable on purpose: it follows what is applied.
    """

    graph: Graph
    width: int
    hidden: Mask | None = None
    hiding: int = 0
    rounding: float = field(init=False)

    def __post_init__(self) -> None:
        self.rounding = rounding_of(self.graph)

    def hide(self, rows: Rows, were_shown: Mask) -> None:
        """Show none of rows (n,), all different, any more. `were_shown` (n,) says which could be found so far; rows
        that came after the graph are none of its."""
        if self.hidden is not None:
            mine = rows < len(self.hidden)
            rows, were_shown = rows[mine], were_shown[mine]
            self.hiding += int((were_shown & ~self.hidden[rows]).sum())
            self.hidden[rows] = True

    def first_depth(self, k: int, searchable: int) -> int:
        """Return how many to ask for, so that of k wanted ones this layer's part is most likely among them."""
        nodes = max(1, len(self.graph))
        shown = max(0.25, 1.0 - self.hiding / nodes)
        share = min(1.0, (nodes - self.hiding) / max(1, searchable))
        likely = _OVERSAMPLED * k * share + 2 * (k * share * (1 - share)) ** 0.5
        return min(DEEPEST, int(np.ceil(max(_AT_LEAST, likely) / shown)) + 4)

    def set_width(self, searchable: int) -> None:
        """Have the graph searched with the width, or narrower where it holds few of what is searched."""
        small = len(self.graph) < _SMALL_SHARE * searchable
        self.graph.expansion_search = max(16, self.width // _NARROWER) if small else self.width

    def ask(self, query: Float32s, depth: int) -> Reply:
        rows, similarity = nearest(self.graph, query, depth)
        unseen = float(similarity[-1]) - self.rounding if depth <= len(rows) < len(self.graph) else -np.inf
        if self.hidden is not None and self.hiding:
            rows = rows[~self.hidden[rows]]
        return Reply(rows, unseen)


def search_layers(
    layers: Sequence[Layer],
    vectors: Float32s,
    query: Float32s,
    k: int,
    *,
    searchable: int,
    keep: Keep | None = None,
) -> tuple[NDArray[np.intp], Float32s, bool]:
    """Return up to k rows nearest to a query (d,), best first, their similarities, and whether these are the nearest
    that the graphs can tell: False says that `DEEPEST` results of one were not enough to know.

    `searchable` is how many items there are in all layers; `keep` says which of rows (n,) may be found.
    """
    depths = [layer.first_depth(k, searchable) for layer in layers]
    replies = [layer.ask(query, depth) for layer, depth in zip(layers, depths, strict=True)]
    while True:
        rows = replies[0].rows if len(replies) == 1 else np.concatenate([reply.rows for reply in replies])  # (n,)
        if keep is not None:
            rows = rows[keep(rows.astype(np.int32))]
        values = vectors.take(rows, axis=0) @ query  # (n,)
        order = np.argsort(-values)[:k]
        rows, values = rows[order], values[order]
        last = float(values[-1]) if len(values) == k else -np.inf
        short = [at for at, reply in enumerate(replies) if reply.unseen > last]
        if not short:
            return rows, values, True
        if all(depths[at] >= DEEPEST for at in short):
            return rows, values, False
        for at in short:
            depths[at] = min(DEEPEST, depths[at] * _DEEPER)
            replies[at] = layers[at].ask(query, depths[at])
