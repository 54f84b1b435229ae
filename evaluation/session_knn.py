"""Session-based nearest neighbours: VS-kNN and VMIS-kNN, which rank what sessions like the visitor's held.

VS-kNN: Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018. VMIS-kNN: Kersbergen,
Sprangers, Schelter, "Serenade", SIGMOD 2022. Both are one method with different settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.next_item import Answers
from evaluation.sessions import Cases, Ints, Longs, Sessions


def one_over(steps: Longs) -> NDArray[np.float64]:
    """1, 1/2, 1/3, ... by distance."""
    return 1.0 / steps


def linear(steps: Longs) -> NDArray[np.float64]:
    """0.9, 0.8, ... by distance, never below 0."""
    return np.asarray(np.maximum(0.0, 1.0 - 0.1 * steps), np.float64)


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """`recent` (the papers' m) sessions that share an item, newest first, are compared, and the `neighbours` (k) most
    similar of them vote.

    last_items: clicks of the visitor that count, None for all. place_power: a shared item counts for its place in the
    visitor's session, as a share of the length, to this power. step_weight: what a neighbour's votes weigh by how many
    clicks ago its newest shared item was clicked, from 1. idf: votes for an item are multiplied by
    idf_base + idf * log(sessions / clicks on the item). leave_out_last: the item clicked last is no answer.
    """

    neighbours: int = 100
    recent: int = 1000
    last_items: int | None = None
    place_power: float = 1.0
    step_weight: Callable[[Longs], NDArray[np.float64]] = one_over
    idf_base: float = 1.0
    idf: float = 0.0
    leave_out_last: bool = False


VS_KNN = KnnSettings(neighbours=500, recent=2500, place_power=2.0, idf=5.0)
"""The settings under which published outputs on YooChoose come out again."""
VMIS_KNN = KnnSettings(
    neighbours=288, recent=1502, last_items=4, step_weight=linear, idf_base=0.0, idf=2.0, leave_out_last=True
)
"""The settings that Serenade publishes for its toy data."""


class SessionKnn:
    """Neighbours of sessions among the training sessions, which are numbered in the order in which they ended."""

    def __init__(self, train: Sessions, settings: KnnSettings) -> None:
        self._settings = settings
        n, s = len(train.item_ids), len(train)
        by_session = np.unique(train.owners * np.int64(n) + train.items)
        owner, self._items = by_session // n, (by_session % n).astype(np.int32)
        self._starts = np.searchsorted(owner, np.arange(s + 1))
        by_item = np.argsort(self._items, kind="stable")  # sessions ascending within an item
        self._holders = owner[by_item]
        self._item_starts = np.searchsorted(self._items[by_item], np.arange(n + 1))
        clicks = np.maximum(np.bincount(train.items, minlength=n), 1)
        self._boost = settings.idf_base + settings.idf * np.log(s / clicks)

    def answer(self, cases: Cases, k: int) -> Answers:
        """Return what the neighbours of each case's prefix held, best first."""
        found = np.full((len(cases), k), -1, np.int32)
        for at in range(len(cases)):
            items, scores = self.scores(cases.prefix(at))
            if len(items) > k:
                kth = np.partition(scores, len(items) - k)[len(items) - k]
                items, scores = items[scores >= kth], scores[scores >= kth]
            best = items[np.argsort(-scores, kind="stable")][:k]
            found[at, : len(best)] = best
        return found

    def scores(self, prefix: Ints) -> tuple[Ints, NDArray[np.float64]]:
        """Return the items that get votes, ascending, and their scores, of one session."""
        neighbours, similarity, steps = self._neighbours(prefix)
        votes = similarity * self._settings.step_weight(steps)
        begins = self._starts[neighbours]
        lengths = self._starts[neighbours + 1] - begins
        flat = np.repeat(begins - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
        items, place = np.unique(self._items[flat], return_inverse=True)
        scores = np.bincount(place, np.repeat(votes, lengths), len(items)) * self._boost[items]
        if self._settings.leave_out_last and len(prefix):
            other = items != prefix[-1]
            items, scores = items[other], scores[other]
        return items, scores

    def _neighbours(self, prefix: Ints) -> tuple[Longs, NDArray[np.float64], Longs]:
        """Return the most similar sessions, how similar they are, and how many clicks ago they last shared one.

        Similarity is the sum over shared items of the place of their last click in the prefix, as `place_power` has it.
        """
        settings = self._settings
        used = prefix[-settings.last_items :] if settings.last_items is not None else prefix
        reversed_items, last = np.unique(used[::-1], return_index=True)  # clicks ago, from 0
        order = np.argsort(-last)
        shared = [
            self._holders[self._item_starts[item] : self._item_starts[item + 1]][-settings.recent :]
            for item in reversed_items[order]
        ]
        sizes = [len(one) for one in shared]
        ago = np.repeat(last[order] + 1, sizes)  # newest last, so that the smallest stays
        sessions, place = np.unique(np.concatenate(shared), return_inverse=True)
        share = (len(used) + 1 - ago) / max(1, len(used))
        weights = np.bincount(place, share**settings.place_power, len(sessions)).astype(np.float64)
        steps = np.zeros(len(sessions), np.int64)
        steps[place] = ago
        newest = slice(max(0, len(sessions) - settings.recent), None)
        sessions, weights, steps = sessions[newest], weights[newest], steps[newest]
        best = np.lexsort((-sessions, -weights))[: settings.neighbours]
        return sessions[best].astype(np.int64), weights[best], steps[best]
