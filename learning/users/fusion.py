"""Two lists made one: the session pipeline's and a user model's, by reciprocal ranks (Cormack et al., SIGIR 2009)."""

from __future__ import annotations

import numpy as np

from evaluation.next_item import Answers
from learning.users.models import Float32s

WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""What a user model's list may weigh beside the pipeline's; 0: it is not asked."""
_RANKS = 60.0
_AT_ONCE = 512


def best_items(scores: Float32s, k: int) -> Answers:
    """Return each row's best k items (c, k), -1 behind those with a score. Ties: the item that came first."""
    k = min(k, scores.shape[1])
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < scores.shape[1] else None
    found = np.sort(found, axis=1) if found is not None else np.tile(np.arange(k), (len(scores), 1))
    own = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(-own, axis=1, kind="stable")
    found, own = np.take_along_axis(found, order, axis=1), np.take_along_axis(own, order, axis=1)
    return np.where(np.isfinite(own), found, -1).astype(np.int32)


def fuse(first: Answers, second: Answers, weight: float, k: int) -> Answers:
    """Return the best k items (c, k) of two lists (c, a) and (c, b) without repeats, the second weighing `weight`."""
    if not weight:
        return first[:, :k]
    return np.concatenate(
        [
            _fuse(first[at : at + _AT_ONCE], second[at : at + _AT_ONCE], weight, k)
            for at in range(0, len(first), _AT_ONCE)
        ]
    )


def _fuse(first: Answers, second: Answers, weight: float, k: int) -> Answers:
    own = 1.0 / (_RANKS + 1 + np.arange(first.shape[1]))  # (a,)
    other = weight / (_RANKS + 1 + np.arange(second.shape[1]))  # (b,)
    same = (first[:, :, None] == second[:, None, :]) & (first >= 0)[:, :, None]  # (c, a, b)
    scores = np.concatenate([own + same @ other, np.where(same.any(axis=1), 0.0, other)], axis=1)  # (c, a + b)
    items = np.concatenate([first, second], axis=1)
    scores = np.where(items >= 0, scores, 0.0)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    picked = np.take_along_axis(items, order, axis=1)
    return np.where(np.take_along_axis(scores, order, axis=1) > 0, picked, -1).astype(np.int32)
