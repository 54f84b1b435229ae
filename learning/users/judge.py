"""What lists for visitors with a history are worth, beside the session pipeline's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import PLACES
from evaluation.next_item import Answers, Interval, bootstrap, ranks_of
from evaluation.pages import Float64s, among, average_precision, diversity, exposure, gini, novelty, serendipity
from evaluation.sessions import Ints, Longs
from learning.users.catalogue_side import GROUPS, ItemSide
from learning.users.visits import Moments, Visits

GAINS = ("hit_rate", "mrr", "map", "ndcg")
_BANDS = GROUPS.index("price band")


@dataclass(frozen=True, slots=True)
class Judged:
    """One model's lists. `gains` by name of GAINS, at PLACES; `differences` are those to the pipeline alone, paired and
    resampled over visitors. `weight` is what the model's list weighs beside the pipeline's. `gini` by what exposure is
    spread over.
    """

    name: str
    weight: float
    cases: int
    gains: dict[str, Interval]
    differences: dict[str, Interval]
    diversity: float
    coverage: float
    novelty: float
    serendipity: float
    gini: dict[str, float]

    @property
    def pays(self) -> bool:
        """Whether NDCG is higher than the pipeline's alone, 95 times in 100."""
        return self.differences["ndcg"].low > 0


@dataclass(frozen=True, slots=True)
class Bench:
    """What lists are held against: `wanted` (c, w), the distinct items of the rest of the visit, -1 behind them."""

    moments: Moments
    users: Longs
    wanted: Ints
    side: ItemSide
    vectors: NDArray[np.float32]
    seed: int

    @classmethod
    def of(cls, visits: Visits, moments: Moments, side: ItemSide, vectors: NDArray[np.float32], seed: int) -> Bench:
        return cls(moments, visits.users[moments.session], _rest(visits, moments), side, vectors, seed)

    def pick(self, which: NDArray[np.bool_]) -> Bench:
        """Return the same of some moments."""
        return Bench(
            self.moments.pick(which), self.users[which], self.wanted[which], self.side, self.vectors, self.seed
        )

    def gains(self, answers: Answers) -> NDArray[np.float64]:
        """Return each case's gains (4, c), rows by GAINS. MAP counts every item that the rest of the visit clicks."""
        shown = answers[:, :PLACES]
        places = ranks_of(shown, self.moments.targets)
        hit, safe = places > 0, np.maximum(places, 1)
        return np.stack(
            [
                hit.astype(float),
                np.where(hit, 1.0 / safe, 0.0),
                average_precision(shown, self.wanted),
                np.where(hit, 1.0 / np.log2(1.0 + safe), 0.0),
            ]
        )

    def judge(self, name: str, answers: Answers, alone: Answers, weight: float) -> Judged:
        """Judge lists (c, k) beside the pipeline's own."""
        shown, own = answers[:, :PLACES], self.gains(answers)
        rng = np.random.default_rng(self.seed)
        spread = bootstrap(np.concatenate([own, own - self.gains(alone)]), self.users, rng)
        popular = np.argsort(-self.side.clicks, kind="stable")[:PLACES].astype(np.int32)
        exposed = {"supplier": self.side.suppliers, "price band": self.side.groups[_BANDS]}
        return Judged(
            name=name,
            weight=weight,
            cases=len(self.moments),
            gains=dict(zip(GAINS, spread[: len(GAINS)], strict=True)),
            differences=dict(zip(GAINS, spread[len(GAINS) :], strict=True)),
            diversity=_mean(diversity(shown, self.vectors)),
            coverage=len(np.unique(shown[shown >= 0])) / len(self.vectors),
            novelty=_mean(novelty(shown, self.side.clicks)),
            serendipity=_mean(serendipity(shown, self.wanted, popular)),
            gini={what: _gini(shown, codes) for what, codes in exposed.items()},
        )


def recall(answers: Answers, targets: Ints) -> float:
    """Return the share of targets that are among the answers at all."""
    return float(among(targets[:, None], answers).mean()) if len(targets) else 0.0


def _mean(values: Float64s) -> float:
    """Return the mean of what is known of lists (c,); NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _gini(answers: Answers, codes: Longs) -> float:
    """Return the Gini of exposure over groups; NaN where items say nothing of theirs."""
    count = int(codes.max(initial=-1)) + 1
    return float(gini(exposure(answers, codes, count).sum(axis=0))) if count else float("nan")


def _rest(visits: Visits, moments: Moments) -> Ints:
    sessions = visits.sessions
    begins = sessions.starts[moments.session] + moments.known
    lengths = sessions.starts[moments.session + 1] - begins
    wanted = np.full((len(moments), int(lengths.max(initial=1))), -1, np.int32)
    for at, (begin, length) in enumerate(zip(begins.tolist(), lengths.tolist(), strict=True)):
        distinct = np.unique(sessions.items[begin : begin + length])
        wanted[at, : len(distinct)] = distinct
    return wanted
