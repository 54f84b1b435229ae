"""Baselines whose answer depends on single items: popularity, session popularity, association and sequential rules.

They learn whole sessions at once and answer cases as arrays. Where a model has less than k items to say, the rest of
the answer is empty: an item without a score is a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evaluation.next_item import Answers
from evaluation.sessions import Cases, Ints, Sessions

Weights = Callable[[int], float]
"""What a pair weighs whose items stand so many clicks apart."""


def quadratic(steps: int) -> float:
    return 1.0 / (steps * steps)


def divided(steps: int) -> float:
    return 1.0 / steps


def equal(steps: int) -> float:
    return 1.0


def popularity(train: Sessions, k: int) -> Callable[[Cases], Answers]:
    """Return the most clicked items to everybody."""
    best = _most_clicked(train)[:k]
    return lambda cases: np.broadcast_to(best, (len(cases), len(best)))


def session_popularity(train: Sessions, k: int) -> Callable[[Cases], Answers]:
    """Return the session's own items by their clicks in it (S-POP, Hidasi et al., ICLR 2016), then the most clicked."""
    best = _most_clicked(train)
    place = np.empty(len(best), np.int64)
    place[best] = np.arange(len(best))

    def answer(cases: Cases) -> Answers:
        found = np.full((len(cases), k), -1, np.int32)
        for at in range(len(cases)):
            own, counts = np.unique(cases.prefix(at), return_counts=True)
            own = own[np.lexsort((place[own], -counts))][:k]
            fill = best[: k + len(own)]
            fill = fill[~np.isin(fill, own)][: k - len(own)]
            found[at, : len(own) + len(fill)] = np.concatenate([own, fill])
        return found

    return answer


@dataclass(frozen=True, slots=True)
class ItemRules:
    """For every item, those that go with it: columns (items, kept), best first; -1 with weight 0 where there are
    fewer. Equal weights stand in the order of `item_ids`.
    """

    others: Ints
    weights: NDArray[np.float32]

    @classmethod
    def association(cls, train: Sessions, *, kept: int = 20) -> Self:
        """Any two clicks of a session are a pair, both ways (Ludewig and Jannach, UMUAI 2018: AR)."""
        return cls._of(train, int(train.lengths.max(initial=1)), equal, kept, backward=1.0)

    @classmethod
    def sequential(cls, train: Sessions, *, steps: int = 10, weight: Weights = quadratic, kept: int = 20) -> Self:
        """A click is a pair with each of the `steps` clicks before it (Ludewig and Jannach, UMUAI 2018: SR)."""
        return cls._of(train, steps, weight, kept)

    @classmethod
    def co_visitation(
        cls, train: Sessions, *, steps: int = 5, half_life_ms: float = np.inf, backward: float = 0.5, kept: int = 50
    ) -> Self:
        """Pairs as co-visitation counts them, weighing half as much for every `half_life_ms` before the last click."""
        return cls._of(train, steps, divided, kept, backward=backward, half_life_ms=half_life_ms, own=False)

    @classmethod
    def _of(
        cls,
        train: Sessions,
        steps: int,
        weight: Weights,
        kept: int,
        *,
        backward: float = 0.0,
        half_life_ms: float = np.inf,
        own: bool = True,
    ) -> Self:
        age_ms = train.ts_ms[-1:].max(initial=0) - train.ts_ms
        decay = np.exp2(-np.maximum(age_ms, 0) / half_life_ms)
        items, owners, n = train.items.astype(np.int64), train.owners, len(train.item_ids)
        codes, sums = [], []
        for step in range(1, min(steps, int(train.lengths.max(initial=1)) - 1) + 1):
            pair = owners[step:] == owners[:-step]
            before, after = items[:-step][pair], items[step:][pair]
            gain = weight(step) * decay[step:][pair]
            if not own:
                other = before != after
                before, after, gain = before[other], after[other], gain[other]
            codes.append(before * n + after)
            sums.append(gain)
            if backward:
                codes.append(after * n + before)
                sums.append(gain * backward)
        if not codes:
            return cls(np.full((n, kept), -1, np.int32), np.zeros((n, kept), np.float32))
        return cls._strongest(np.concatenate(codes), np.concatenate(sums), n, kept)

    @classmethod
    def _strongest(cls, codes: NDArray[np.int64], gains: NDArray[np.float64], n: int, kept: int) -> Self:
        distinct, place = np.unique(codes, return_inverse=True)
        sums = np.bincount(place, gains)
        owner, other = np.divmod(distinct, n)
        order = np.lexsort((other, -sums, owner))
        owner, other, sums = owner[order], other[order], sums[order]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
        best = rank < kept
        others, weights = np.full((n, kept), -1, np.int32), np.zeros((n, kept), np.float32)
        others[owner[best], rank[best]] = other[best]
        weights[owner[best], rank[best]] = sums[best]
        return cls(others, weights)

    def answer(self, cases: Cases, k: int) -> Answers:
        """Answer with what goes with the item clicked last."""
        return self.others[cases.last, :k]


def _most_clicked(train: Sessions) -> Ints:
    counts = np.bincount(train.items, minlength=len(train.item_ids))
    return np.argsort(-counts, kind="stable").astype(np.int32)
