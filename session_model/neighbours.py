"""Which items are clicked near each other: the graph that the item tower learns over. numpy and scipy only.

An item with few clicks learns from its neighbours' (a global item graph, as in Wang et al., "Global Context Enhanced
Graph Neural Networks for Session-based Recommendation", SIGIR 2020). The graph is spent in training: what is exported
is one vector an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from session_model.histories import Histories

REACH = 3
"""Clicks apart that still count as near; a pair counts by one over its distance."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest of n items: `rows` (n, k) are places in the item list, `weights` (n, k) sum to 1, or to 0 for an
    item without neighbours. `clicks` (n,) is how often each item was clicked.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    clicks: NDArray[np.int64]

    @classmethod
    def of(cls, histories: Histories, count: int, *, half_life_share: float) -> Self:
        """Find the `count` neighbours of every item with the most clicks in common, for how often both are clicked.

        A session counts half as much for every `half_life_share` of all sessions that came after it.
        """
        items = len(histories.item_ids)
        clicks = np.bincount(histories.items, minlength=items)
        near = _near(histories, half_life_share)
        often = np.asarray(near.sum(axis=1), np.float64).ravel()
        scale = sparse.diags_array(1.0 / np.sqrt(np.maximum(often, 1e-12)))
        rows, weights = _strongest(sparse.csr_array(scale @ near @ scale), count)
        return cls(rows, weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12), clicks)


def _near(histories: Histories, half_life_share: float) -> sparse.csr_array:
    """Return how often each two items were clicked near each other, (n, n)."""
    items = len(histories.item_ids)
    sessions = np.repeat(np.arange(len(histories)), histories.lengths)  # (clicks,)
    age = (len(histories) - 1 - sessions) / max(len(histories), 1)
    fresh = np.exp2(-age / half_life_share)
    firsts, seconds, weights = [], [], []
    for distance in range(1, REACH + 1):
        first, second = histories.items[:-distance], histories.items[distance:]
        pair = (sessions[distance:] == sessions[:-distance]) & (first != second)
        firsts += [first[pair], second[pair]]
        seconds += [second[pair], first[pair]]
        weights += [fresh[distance:][pair] / distance] * 2
    places = (np.concatenate(firsts), np.concatenate(seconds))
    return sparse.coo_array((np.concatenate(weights), places), shape=(items, items)).tocsr()


def _strongest(graph: sparse.csr_array, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `count` strongest of every row: places and weights, (n, count), padded with 0."""
    size = graph.shape[0]
    owner = np.repeat(np.arange(size), np.diff(graph.indptr))
    order = np.lexsort((graph.indices, -graph.data, owner))
    rank = np.arange(len(order)) - graph.indptr[owner[order]]
    kept = order[rank < count]
    at = (owner[kept], rank[rank < count])
    rows, weights = np.zeros((size, count), np.int64), np.zeros((size, count), np.float32)
    rows[at], weights[at] = graph.indices[kept], graph.data[kept]
    return rows, weights
