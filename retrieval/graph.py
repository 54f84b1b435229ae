"""The nearest-neighbour graph (HNSW, Malkov and Yashunin 2018), as usearch builds and maps it. Nothing else imports it.

Nodes are rows of the catalogue's columns. Similarity is the inner product of unit vectors.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

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

_ROUNDING: Final[dict[str, float]] = {"F32": 1e-6, "F16": 5e-4, "BF16": 2e-3, "I8": 1e-2}


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """How a graph is built (precision of its own copy of the vectors, links a node, build width) and searched."""

    precision: Precision = "bf16"
    connectivity: int = 24
    expansion_add: int = 160
    expansion: int = 160


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
    """Write a graph. Raises ArtifactError when the disk does not take it."""
    try:
        graph.save(str(path))
    except RuntimeError as error:
        raise ArtifactError(f"cannot write the graph {path}: {error}. Is there room on the disk?") from error


def load_graph(path: Path, dim: int, options: GraphOptions) -> Graph:
    """Read a saved graph into memory, to be added to."""
    graph = empty_graph(dim, options)
    graph.load(str(path))
    return graph


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


def nearest(graph: Graph, query: Float32s, k: int) -> tuple[NDArray[np.intp], Float32s]:
    """Return up to k nodes found nearest to a query (d,), best first: rows (n,) and similarities."""
    if not len(graph) or not k:
        return np.zeros(0, np.intp), np.zeros(0, np.float32)
    matches = graph.search(query, min(k, len(graph)), threads=1)
    rows: NDArray[np.intp] = matches.keys.view(np.intp)  # rows are small numbers: no copy
    return rows, 1 - matches.distances


def rounding_of(graph: Graph) -> float:
    """Return what a graph's similarities may be off by, for its precision: measured on unit vectors of 64 to 128
    dimensions and rounded up."""
    return _ROUNDING[graph.dtype.name]
