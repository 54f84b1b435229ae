"""Groups of the re-ranker's training: what XGBoost learns from and is checked on, and the metrics of an order on them.

A group is one next click (`learning.replay.RankingGroup`): the candidates of the moment before it, and the clicked one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from evaluation.metrics import PLACES, hit_rate, mrr, ndcg
from learning.replay import RankingGroup
from rerank.features import FEATURES, NO_PARTS, Parts

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RankingMetrics:
    """How one order did on next clicks, over the first PLACES places; an item that is no candidate counts as missed."""

    hit_rate: float
    mrr: float
    ndcg: float


@dataclass(slots=True)
class Groups:
    """Groups laid end to end, as XGBoost wants them; those whose click no source brought are only counted.

    The lists have one entry for each group: its candidates' features (c, f), how many they are, the clicked one's
    position among them, its place in retrieval order (from 1, among all candidates, those not drawn included), and
    whether the clicked item was new. `candidates` counts all candidates before any were drawn.
    """

    rows: list[Float32s] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    retrieval_ranks: list[int] = field(default_factory=list)
    new: list[bool] = field(default_factory=list)
    candidates: int = 0
    missed: int = 0
    parts: Parts = NO_PARTS
    """What the rows hold beside FEATURES."""

    def add(self, group: RankingGroup, rng: np.random.Generator | None, negatives: int = 0) -> None:
        """Add a group; with `rng`, only the clicked candidate and `negatives` others drawn at random."""
        self.candidates += len(group.rows)
        if group.target < 0:
            self.missed += 1
            return
        rows, target = group.rows, group.target
        if rng is not None and len(rows) > negatives + 1:
            others = np.delete(np.arange(len(rows)), target)
            rows = rows[np.concatenate([[target], rng.choice(others, negatives, replace=False)])]  # (negatives + 1, f)
            target = 0
        self.retrieval_ranks.append(rank_of(group.retrieval, group.target))
        self.rows.append(rows)
        self.sizes.append(len(rows))
        self.targets.append(target)
        self.new.append(group.new)

    def extend(self, others: Groups) -> None:
        """Add all groups of others after these."""
        self.rows += others.rows
        self.sizes += others.sizes
        self.targets += others.targets
        self.retrieval_ranks += others.retrieval_ranks
        self.new += others.new
        self.candidates += others.candidates
        self.missed += others.missed

    @property
    def asked(self) -> int:
        """Next clicks that were asked for, those that no source brought among them."""
        return len(self.sizes) + self.missed

    def matrix(self, threads: int, new_weight: float = 1.0) -> xgb.DMatrix:
        """Return the rows of all groups, labelled 1 where clicked; a click on a new item weighs `new_weight`, others 1.

        At least one group must have been added.
        """
        labels = np.zeros(sum(self.sizes), np.float32)
        labels[np.cumsum(self.sizes) - self.sizes + self.targets] = 1.0
        matrix = xgb.DMatrix(
            np.concatenate(self.rows), labels, feature_names=[*FEATURES, *self.parts.features], nthread=threads
        )
        matrix.set_group(self.sizes)
        matrix.set_weight(np.where(self.new, np.float32(new_weight), np.float32(1)))
        return matrix

    def metrics(self, ranks: Sequence[int]) -> RankingMetrics:
        """Return the metrics of an order that put the clicked items at `ranks` (from 1, one for each group)."""
        places = [*ranks, *[0] * self.missed]
        return RankingMetrics(*(metric(places, PLACES) for metric in (hit_rate, mrr, ndcg)))


def rank_of(scores: Float32s, target: int) -> int:
    """Return the target's place among `scores` (c,), from 1; ties count against it."""
    return int(np.count_nonzero(scores >= scores[target]))
