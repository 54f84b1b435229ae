"""Is the index still telling the truth: recall of live searches against exact ones, and items that it cannot reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.ann_index import NO_FILTERS, AnnIndex, Filter
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]

_WAITING = 16
_NOISE = 0.3
"""How far a probe lies from the item that it starts from, as a share of the item's length."""


class Probe(NamedTuple):
    """One live search: the query (d,), the rows that were found, (k,), and what they had to be."""

    query: Float32s
    rows: Rows
    wanted: Filter | None = None


class Canary:
    """Keeps a random share of live searches to be looked at later. Offering costs a random number a search."""

    def __init__(self, share: float, random: np.random.Generator) -> None:
        self._share, self._random = share, random
        self._waiting: deque[Probe] = deque(maxlen=_WAITING)
        self.recall = float("nan")
        """Moving average over the probes measured, NaN before the first."""
        self.probes = 0

    def offer(self, queries: Float32s, k: int, rows: Rows, wanted: Sequence[Filter | None] = NO_FILTERS) -> None:
        """Keep one of the searches, or none. `AnnIndex.observer`."""
        if self._share and self._random.random() < self._share * len(queries):
            at = int(self._random.integers(len(queries)))
            if wanted and (one := wanted[at]) is not None and one.keep:
                return  # what its expressions remember is the serving thread's
            self._waiting.append(Probe(queries[at].copy(), rows[at].copy(), wanted[at] if wanted else None))

    def next(self) -> Probe | None:
        """Return the newest search that waits; older ones have met another index."""
        probe = self._waiting.pop() if self._waiting else None
        self._waiting.clear()
        return probe

    def forget(self) -> None:
        """Let go of searches whose rows another snapshot has numbered anew."""
        self._waiting.clear()

    def learn(self, recall: float) -> None:
        """Count one measured probe: the newest hundred weigh most."""
        self.probes += 1
        self.recall = recall if self.probes == 1 else self.recall + (recall - self.recall) / min(self.probes, 100)


def recall_of(index: AnnIndex, probe: Probe) -> float:
    """Return the share of the exact answer that a search found. NaN when there is nothing to find.

    Reads every vector: for a thread beside the one that serves.
    """
    exact, _ = index.search_exact(probe.query[None], len(probe.rows), [probe.wanted])
    wanted = exact[exact >= 0]
    return float(np.isin(wanted, probe.rows).mean()) if len(wanted) else float("nan")


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a look at an index found. `orphaned` is the share of sampled items that a search for their own vector does
    not find."""

    recall: float
    orphaned: float
    k: int
    sample: int


def check(index: AnnIndex, columns: CatalogueColumns, random: np.random.Generator, *, sample: int, k: int) -> Checkup:
    """Search near a random sample of items, and for the items themselves, and compare with exact search."""
    queries, rows = probes(columns, random, sample)
    if not len(rows):
        return Checkup(1.0, 0.0, k, 0)
    found = np.concatenate([index.search(query[None], k)[0] for query in queries])
    exact, _ = index.search_exact(queries, k)
    hits = [np.isin(wanted[wanted >= 0], got).mean() for got, wanted in zip(found, exact, strict=True)]
    own = [row in index.search(columns.vectors[row][None], 10)[0] for row in rows.tolist()]
    return Checkup(float(np.mean(hits)), 1.0 - float(np.mean(own)), k, len(rows))


def probes(columns: CatalogueColumns, random: np.random.Generator, sample: int) -> tuple[Float32s, Rows]:
    """Return unit queries (n, d) near randomly chosen items, and the items' rows (n,)."""
    able = np.flatnonzero(columns.alive[: columns.count] & columns.has_vector[: columns.count])
    rows = random.choice(able, min(sample, len(able)), replace=False).astype(np.int32)
    vectors = columns.vectors[rows]
    noise = random.standard_normal(vectors.shape, np.float32)
    queries = vectors + np.float32(_NOISE) * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32), rows
