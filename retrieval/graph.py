"""The nearest-neighbour graph (HNSW, Malkov and Yashunin 2018), as usearch builds and maps it. Nothing else imports it.

Nodes are rows of the catalogue's columns. Similarity is the inner product of unit vectors.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from retrieval.key_rows import Rows
from retrieval.snapshot import Precision

# usearch's Linux wheel carries its own copy of the C++ library. Loaded first, it shadows the machine's, and XGBoost
# can then no longer read a number ("expect int but value='-1'", as in dmlc/xgboost#10224): the machine's comes first.
with suppress(OSError):
    ctypes.CDLL("libstdc++.so.6", mode=ctypes.RTLD_GLOBAL)

from usearch.index import Index

Float32s = NDArray[np.float32]
Graph: TypeAlias = Index


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """How a graph is built (precision of its own copy of the vectors, links a node, build width) and searched."""

    precision: Precision = "bf16"
    connectivity: int = 24
    expansion_add: int = 160
    expansion: int = 192


def empty_graph(dim: int, options: GraphOptions, *, key_lookups: bool = True) -> Graph:
    return Index(
        ndim=dim,
        metric="ip",
        dtype=options.precision,
        connectivity=options.connectivity,
        expansion_add=options.expansion_add,
        expansion_search=options.expansion,
        enable_key_lookups=key_lookups,
    )


def add_rows(graph: Graph, rows: Rows, vectors: Float32s, *, threads: int = 1) -> None:
    """Add rows (n,) with vectors (n, d). The rows must not be in the graph."""
    if len(rows):
        graph.add(rows.astype(np.uint64), vectors, threads=threads)


def remove_rows(graph: Graph, rows: Rows) -> int:
    """Remove those of the rows that are there; returns how many were."""
    if not len(rows) or not len(graph):
        return 0
    held = rows[np.atleast_1d(graph.contains(rows.astype(np.uint64)))]
    for row in held.tolist():
        graph.remove(row)
    return len(held)


def save_graph(graph: Graph, path: Path) -> None:
    graph.save(str(path))


def map_graph(path: Path, dim: int, options: GraphOptions) -> Graph:
    """Map a saved graph without reading it. Raises ArtifactError when it is no graph, or one of another size."""
    graph = empty_graph(dim, options, key_lookups=False)
    try:
        meta = Index.metadata(str(path))
        if not meta or meta["dimensions"] != dim:
            raise ValueError(f"expected {dim} dimensions, got {meta and meta['dimensions']}")
        graph.view(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtifactError(f"cannot map the graph {path}: {error}. Build the snapshot again") from error
    return graph


def nearest(graph: Graph, queries: Float32s, k: int) -> tuple[Rows, Float32s]:
    """Return the k nodes found nearest to queries (b, d): rows (b, k), -1 where there are fewer, and similarities."""
    rows = np.full((len(queries), k), -1, np.int32)
    similarity = np.full((len(queries), k), -np.inf, np.float32)
    if not len(graph) or not k:
        return rows, similarity
    matches = graph.search(queries, k, threads=1)
    if len(queries) == 1:  # usearch then answers in one dimension, with as many items as it found
        found = len(matches.keys)
        rows[0, :found], similarity[0, :found] = matches.keys, 1 - matches.distances
        return rows, similarity
    within = np.arange(k) < np.asarray(matches.counts)[:, None]  # (b, k)
    rows[within] = matches.keys[within]
    similarity[within] = 1 - matches.distances[within]
    return rows, similarity
