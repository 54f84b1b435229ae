"""The next-item protocol: what answers to a set of cases are worth. Answers are columns, (c, k) places in the item
list, best first, -1 where there is no item.

Intervals are bootstrapped over sessions, not cases: the cases of one session are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import PLACES, Ranks
from evaluation.sessions import Cases, Ints, Sessions

Answers = Ints
Answerer = Callable[[Cases], Answers]
"""Answers cases, batch first: (c, k) places."""

DEPTH = PLACES + 50
"""Places asked for: leaving out what a session of fifty items clicked leaves PLACES."""
_RESAMPLES = 1000
_RESAMPLED_AT_ONCE = 50


class Interval(NamedTuple):
    """A figure, and the bounds that hold it 95 times in 100."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class NextItemMetrics:
    """What one model's answers are worth. `popularity_rank` is the mean place, 1 the most clicked in training, of what
    was recommended; `diversity` the mean of 1 - cosine between the items of one answer, cosines taken over the training
    sessions that hold them.
    """

    cases: int
    hit_rate: Interval
    mrr: Interval
    ndcg: Interval
    coverage: float
    popularity_rank: float
    diversity: float


class Ground:
    """What answers are held against besides the targets: the training clicks. Built once for all models."""

    def __init__(self, train: Sessions, rng: np.random.Generator, *, diversity_cases: int = 500) -> None:
        counts = np.bincount(train.items, minlength=len(train.item_ids))
        self.catalogue_size = int(np.count_nonzero(counts))
        self._place = np.empty(len(counts), np.int64)
        self._place[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
        pairs = np.unique(train.items.astype(np.int64) * len(train) + train.owners)
        items = pairs // max(len(train), 1)
        self._holders = np.split(pairs % max(len(train), 1), np.searchsorted(items, np.arange(1, len(counts))))
        self._rng_seed = int(rng.integers(2**31))
        self._diversity_cases = diversity_cases

    def coverage(self, answers: Answers) -> float:
        """Share of the training's items that were recommended to anybody."""
        shown = np.unique(answers[answers >= 0])
        return len(shown) / max(1, self.catalogue_size)

    def popularity_rank(self, answers: Answers) -> float:
        shown = answers[answers >= 0]
        return float(self._place[shown].mean()) if len(shown) else 0.0

    def diversity(self, answers: Answers, k: int = 10) -> float:
        """Mean intra-list distance over a sample of answers (Ziegler et al., WWW 2005), of their first k items."""
        rng = np.random.default_rng(self._rng_seed)
        chosen = rng.permutation(len(answers))[: self._diversity_cases]
        distances = (self._distance(answers[at, :k]) for at in chosen)
        found = [distance for distance in distances if distance is not None]
        return sum(found) / max(1, len(found))

    def _distance(self, answer: Ints) -> float | None:
        sets = [set(self._holders[item].tolist()) for item in answer[answer >= 0]]
        sets = [one for one in sets if one]
        if len(sets) < 2:
            return None
        total = 0.0
        for at, one in enumerate(sets):
            for other in sets[at + 1 :]:
                total += 1.0 - len(one & other) / np.sqrt(len(one) * len(other))
        return float(total / (len(sets) * (len(sets) - 1) / 2))


def ranks_of(answers: Answers, targets: Ints) -> Ranks:
    """Return each target's place in its answer, from 1; 0 where it is not there."""
    found = answers == targets[:, None]  # (c, k)
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int64)


def without_seen(answers: Answers, cases: Cases) -> Answers:
    """Return answers (c, k) without the items that each case's session has clicked, -1 behind what is left."""
    lengths = cases.ends - cases.begins  # (c,)
    clicks = np.arange(int(lengths.sum())) + np.repeat(cases.begins - (np.cumsum(lengths) - lengths), lengths)
    span = int(max(cases.items.max(initial=0), answers.max(initial=0))) + 1
    seen = np.repeat(np.arange(len(cases)), lengths) * span + cases.items[clicks]
    asked = np.arange(len(cases))[:, None] * span + answers  # (c, k)
    left = (answers >= 0) & ~np.isin(asked, seen)
    order = np.argsort(~left, axis=1, kind="stable")
    return np.take_along_axis(np.where(left, answers, np.int32(-1)), order, axis=1)


def measure(
    ranks: Ranks, cases: Cases, answers: Answers, ground: Ground, *, seed: int, k: int = PLACES
) -> NextItemMetrics:
    """Return hit rate and MRR at k, NDCG at 10, each with its interval, and what the answers are like."""
    hit = (ranks >= 1) & (ranks <= k)
    places = np.maximum(ranks, 1)
    gains = [hit.astype(float), np.where(hit, 1.0 / places, 0.0)]
    gains.append(np.where(hit & (ranks <= 10), 1.0 / np.log2(1.0 + places), 0.0))
    by_hit, by_rank, by_gain = bootstrap(np.stack(gains), cases.session, np.random.default_rng(seed))
    shown = answers[:, :k]
    return NextItemMetrics(
        len(cases),
        by_hit,
        by_rank,
        by_gain,
        coverage=ground.coverage(shown),
        popularity_rank=ground.popularity_rank(shown),
        diversity=ground.diversity(shown),
    )


def bootstrap(
    gains: NDArray[np.float64], session: NDArray[np.int64], rng: np.random.Generator, *, resamples: int = _RESAMPLES
) -> list[Interval]:
    """Return the mean of each row of gains (m, c), with its percentile interval over resampled sessions (Efron 1979).

    `session` (c,) groups the cases: sessions are drawn, and bring all their cases.
    """
    if not gains.shape[1]:
        return [Interval(0.0, 0.0, 0.0)] * len(gains)
    _, group = np.unique(session, return_inverse=True)
    groups = int(group.max()) + 1
    sums = np.stack([np.bincount(group, row, groups) for row in (*gains, np.ones(len(group)))])  # (m + 1, groups)
    drawn = []
    for begin in range(0, resamples, _RESAMPLED_AT_ONCE):
        count = min(_RESAMPLED_AT_ONCE, resamples - begin)
        times = rng.multinomial(groups, np.full(groups, 1.0 / groups), count)  # (r, groups)
        drawn.append(times @ sums.T)  # (r, m + 1)
    totals = np.concatenate(drawn)
    means = totals[:, :-1] / np.maximum(totals[:, -1:], 1)  # (resamples, m)
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return [Interval(float(row.mean()), float(a), float(b)) for row, a, b in zip(gains, low, high, strict=True)]
