"""Training batches: which sessions, which candidates, and how likely each candidate was to be there. numpy only.

A batch's candidates are its own items and items drawn for all of its sessions alike, by count ** `power`. Each counts
once; the softmax is corrected by how likely each was to be among them (logQ correction, Yi et al., RecSys 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_model.histories import Histories

_SORTED_TOGETHER = 16
"""Batches whose sessions are sorted by length before they are cut: little padding, still random."""


@dataclass(frozen=True, slots=True)
class Batch:
    """b sessions of up to t clicks.

    `rows` (c,) are the candidates, places in the item list, and `log_q` (c,) the log of their chance to be one.
    `clicks` (b, t) and `codes` (b, t) are the inputs, as places in `rows`, padded with 0. `after` (p,) are the flat
    places in (b, t) whose next click is `target` (p,), and whose own click is `last` (p,), places in `rows`.
    `passed` (p, h) are items that were shown above that next click, places in `passed_rows` (e,), -1 for none.
    """

    rows: NDArray[np.int64]
    log_q: NDArray[np.float32]
    clicks: NDArray[np.int64]
    codes: NDArray[np.int64]
    after: NDArray[np.int64]
    target: NDArray[np.int64]
    last: NDArray[np.int64]
    passed_rows: NDArray[np.int64]
    passed: NDArray[np.int64]


def session_weights(histories: Histories, half_life_share: float) -> NDArray[np.float64]:
    """Return each session's chance to be drawn (n,): half as much for every `half_life_share` of all sessions that
    came after it; none for those without a click to predict.
    """
    age = np.arange(len(histories))[::-1] / max(len(histories), 1)
    usable = np.add.reduceat(histories.targets(), histories.starts[:-1]) > 0
    weights = np.where(usable, np.exp2(-age / half_life_share), 0.0)
    return np.asarray(weights / weights.sum(), np.float64)


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batches. `item_chance` (items,) is that of one click of a drawn session, `negative_chance` of one draw."""

    histories: Histories
    weights: NDArray[np.float64]
    item_chance: NDArray[np.float64]
    negative_chance: NDArray[np.float64]
    targets: NDArray[np.bool_]
    batch_sessions: int
    negatives: int
    passed: int

    @classmethod
    def of(
        cls,
        histories: Histories,
        *,
        half_life_share: float,
        power: float,
        batch_sessions: int,
        negatives: int,
        passed: int = 0,
    ) -> Sampler:
        weights = session_weights(histories, half_life_share)
        items = len(histories.item_ids)
        drawn = np.bincount(histories.items, np.repeat(weights, histories.lengths), minlength=items)
        by_power = np.bincount(histories.items, minlength=items) ** power * (drawn > 0)
        return cls(
            histories=histories,
            weights=weights,
            item_chance=drawn / drawn.sum(),
            negative_chance=by_power / by_power.sum(),
            targets=histories.targets(),
            batch_sessions=batch_sessions,
            negatives=negatives,
            passed=passed,
        )

    @property
    def batches(self) -> int:
        """Batches in one train epoch: as many sessions as have something to predict."""
        return -(-int(np.count_nonzero(self.weights)) // self.batch_sessions)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield one train epoch of batches."""
        count = self.batches * self.batch_sessions
        drawn = rng.choice(len(self.histories), count, p=self.weights)
        together = self.batch_sessions * _SORTED_TOGETHER
        lengths = self.histories.lengths
        for at in range(0, count, together):
            block = drawn[at : at + together]
            block = block[np.argsort(lengths[block], kind="stable")].reshape(-1, self.batch_sessions)
            for sessions in rng.permutation(block):
                yield self.batch(sessions, rng)

    def batch(self, sessions: NDArray[np.intp], rng: np.random.Generator) -> Batch:
        """Build the batch of the given sessions (b,)."""
        histories = self.histories
        lengths = histories.lengths[sessions]
        place = np.arange(int(lengths.max()))  # (t,)
        present = place < lengths[:, None]  # (b, t)
        flat = np.where(present, histories.starts[sessions][:, None] + place, 0)  # (b, t)
        own = histories.items[flat[present]]  # (clicks,)
        negatives = rng.choice(len(self.negative_chance), self.negatives, p=self.negative_chance)
        rows, place_of = np.unique(np.concatenate([own, negatives]), return_inverse=True)  # (c,)
        clicks = np.zeros(flat.shape, np.int64)
        clicks[present] = place_of[: len(own)]
        is_target = self.targets[flat] & present  # (b, t), never in the first column
        after = np.flatnonzero(is_target) - 1
        expected = len(own) * self.item_chance[rows] + self.negatives * self.negative_chance[rows]
        passed_rows, passed = self._passed(flat[is_target])
        return Batch(
            rows=rows.astype(np.int64),
            log_q=np.log(-np.expm1(-expected)).astype(np.float32),
            clicks=clicks,
            codes=np.where(present, histories.codes[flat], 0).astype(np.int64),
            after=after,
            target=clicks[is_target],
            last=clicks.ravel()[after],
            passed_rows=passed_rows,
            passed=passed,
        )

    def _passed(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows (e,) that were passed over before clicks (p,), and each click's places in them (p, h)."""
        pages = self.histories.pages
        if pages is None or not self.passed:
            return np.zeros(0, np.int64), np.zeros((len(wanted), 0), np.int64)
        found = self.histories.passed_over.take(pages[wanted], self.passed)  # (p, h)
        rows, place = np.unique(found[found >= 0], return_inverse=True)
        passed = np.full(found.shape, -1, np.int64)
        passed[found >= 0] = place
        return rows.astype(np.int64), passed
