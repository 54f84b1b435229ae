"""What lists are like beside being right: pure functions of answers, (c, k) places in an item list, -1 for no item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.next_item import Answers

Float64s = NDArray[np.float64]


def intra_list_diversity(answers: Answers, vectors: NDArray[np.float32]) -> float:
    """Return the mean of 1 - cosine between two items of one answer (Ziegler et al., WWW 2005).

    `vectors` (n, d) are unit; items whose vector is zero are left out, and answers with fewer than two others.
    """
    total, counted = 0.0, 0
    for answer in answers:
        rows = vectors[answer[answer >= 0]]
        rows = rows[np.any(rows != 0.0, axis=1)]
        if len(rows) < 2:
            continue
        pairs = len(rows) * (len(rows) - 1)
        total += 1.0 - float((np.square(rows.sum(axis=0)).sum() - len(rows)) / pairs)
        counted += 1
    return total / counted if counted else 0.0


def coverage(answers: Answers, catalogue_size: int) -> float:
    """Return the share of `catalogue_size` items that were recommended to anybody."""
    if catalogue_size <= 0:
        raise ValueError(f"expected a catalogue of at least one item, got a size of {catalogue_size}")
    return len(np.unique(answers[answers >= 0])) / catalogue_size


def novelty(answers: Answers, clicks: NDArray[np.int64]) -> float:
    """Return the mean of -log2 of the recommended items' share of all clicks (n,), in bits (Zhou et al., PNAS 2010).

    An item without a click counts as if it had one.
    """
    shown = answers[answers >= 0]
    if not len(shown):
        return 0.0
    counts = np.maximum(clicks, 1)
    return float(np.mean(-np.log2(counts[shown] / counts.sum())))


def serendipity(answers: Answers, wanted: Answers, expected: Answers) -> float:
    """Return the share of recommended items that were wanted (c, w) and not expected (c, e): right, and no truism.

    `expected` is what a primitive recommender would have shown (Ge et al., RecSys 2010): the most popular items, say.
    """
    shown = answers >= 0
    if not shown.any():
        return 0.0
    return float(np.count_nonzero(shown & among(answers, wanted) & ~among(answers, expected)) / shown.sum())


def among(answers: Answers, others: Answers) -> NDArray[np.bool_]:
    """Return which items of each answer (c, k) are in the same row of `others` (c, m); -1 never is."""
    found = np.zeros(answers.shape, np.bool_)
    for at in range(others.shape[1]):
        found |= answers == others[:, at : at + 1]
    return found & (answers >= 0)


def average_precision(answers: Answers, wanted: Answers) -> Float64s:
    """Return average precision (c,): over the distinct items in `wanted` (c, w), of which at most k count."""
    hit = among(answers, wanted)
    precision = np.cumsum(hit, axis=1) / np.arange(1, answers.shape[1] + 1)  # (c, k)
    distinct = np.array([len(np.unique(row[row >= 0])) for row in wanted], np.int64)
    most = np.maximum(np.minimum(distinct, answers.shape[1]), 1)
    return np.asarray((precision * hit).sum(axis=1) / most, np.float64)


def gini(exposure: NDArray[np.int64]) -> float:
    """Return how unequally exposure (g,) is spread over groups: 0 all alike, towards 1 all with one (Gini 1912)."""
    total = float(exposure.sum())
    if not total:
        return 0.0
    ordered = np.sort(exposure)
    count = len(ordered)
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * total))
