"""Next-item metrics, as pure functions of ranks. A rank is 1 for the best place; 0 says that the item was not there.

Ties count against us: an item that shares its score with others takes the last of the places that they share, so a
model that scores everything alike gets nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log2, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ranks = NDArray[np.int64]
"""Shape (n,); 1 is best, 0 is absent."""

PLACES: Final = 20
"""Places of an answer that count, unless a figure says another number."""


def rank_in(wanted: object, ranked: Sequence[object]) -> int | None:
    """Return the 1-based place of `wanted` in a ranked list, None when it is not there."""
    for place, item in enumerate(ranked, start=1):
        if item == wanted:
            return place
    return None


def ranks_of_targets(scores: ArrayLike, targets: ArrayLike) -> Ranks:
    """Rank each row's target among all scores of its row, ties against it.

    scores (b, n), higher is better; targets (b,) column of each row's true item. A NaN ranks behind everything.
    """
    table = np.asarray(scores, dtype=np.float64)  # (b, n)
    table = np.where(np.isnan(table), -np.inf, table)
    columns = np.asarray(targets, dtype=np.int64)  # (b,)
    own = np.take_along_axis(table, columns[:, None], axis=1)  # (b, 1)
    ranks: Ranks = np.count_nonzero(table >= own, axis=1).astype(np.int64)  # (b,) the target counts itself
    return ranks


def hit_rate(ranks: ArrayLike, k: int) -> float:
    """Share of cases whose item is among the first k. The same as recall@k with one true item; 0.0 for no cases."""
    places = _places(ranks)
    return float(np.mean((places >= 1) & (places <= k))) if places.size else 0.0


def mrr(ranks: ArrayLike, k: int) -> float:
    """Mean reciprocal rank, counting 0 for items behind place k."""
    places = _places(ranks)
    found = (places >= 1) & (places <= k)
    return float(np.sum(1.0 / places[found]) / places.size) if places.size else 0.0


def ndcg(ranks: ArrayLike, k: int) -> float:
    """Normalised discounted cumulative gain with one true item: 1 / log2(1 + rank) within the first k."""
    places = _places(ranks)
    found = (places >= 1) & (places <= k)
    return float(np.sum(1.0 / np.log2(1.0 + places[found])) / places.size) if places.size else 0.0


def coverage(answers: Iterable[Iterable[object]], catalogue_size: int) -> float:
    """Share of the catalogue that was recommended to anybody."""
    if catalogue_size <= 0:
        raise ValueError(f"expected a catalogue of at least one item, got a size of {catalogue_size}")
    return len({item for answer in answers for item in answer}) / catalogue_size


def wilson_interval(hits: int, cases: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval that holds a share's true value 95 times in 100 (Wilson 1927)."""
    if cases == 0:
        return 0.0, 1.0
    share = hits / cases
    centre = share + z * z / (2 * cases)
    spread = z * sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


@dataclass(slots=True)
class NextItemTally:
    """Hit rate, MRR and NDCG at several depths, counted one case at a time. Mutable: `add` and `merge` change it."""

    ks: tuple[int, ...] = (10, 20)
    cases: int = 0
    hits: dict[int, int] = field(default_factory=dict)
    reciprocal: dict[int, float] = field(default_factory=dict)
    gain: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for k in self.ks:
            self.hits.setdefault(k, 0)
            self.reciprocal.setdefault(k, 0.0)
            self.gain.setdefault(k, 0.0)

    def add(self, rank: int | None) -> None:
        """Count one case; None (or 0) is a miss at every depth."""
        self.cases += 1
        if not rank:
            return
        for k in self.ks:
            if rank <= k:
                self.hits[k] += 1
                self.reciprocal[k] += 1.0 / rank
                self.gain[k] += 1.0 / log2(1.0 + rank)

    def merge(self, other: NextItemTally) -> None:
        """Add another tally of the same depths."""
        if other.ks != self.ks:
            raise ValueError(f"expected a tally at {self.ks}, got one at {other.ks}")
        self.cases += other.cases
        for k in self.ks:
            self.hits[k] += other.hits[k]
            self.reciprocal[k] += other.reciprocal[k]
            self.gain[k] += other.gain[k]

    def hit_rate(self, k: int) -> float:
        return self.hits[k] / self.cases if self.cases else 0.0

    def mrr(self, k: int) -> float:
        return self.reciprocal[k] / self.cases if self.cases else 0.0

    def ndcg(self, k: int) -> float:
        return self.gain[k] / self.cases if self.cases else 0.0

    def summary(self) -> dict[str, float | int]:
        """Return `cases` and `hit_rate@k`, `mrr@k`, `ndcg@k` for every k."""
        found: dict[str, float | int] = {"cases": self.cases}
        for k in self.ks:
            found[f"hit_rate@{k}"] = self.hit_rate(k)
            found[f"mrr@{k}"] = self.mrr(k)
            found[f"ndcg@{k}"] = self.ndcg(k)
        return found


def _places(ranks: ArrayLike) -> Ranks:
    return np.asarray(ranks, dtype=np.int64)
