"""What an action is expected to earn, from a log: a ridge regression, each row predicted by folds that it is not in.

Features are the action, the position, the context, and where they are few enough the context of each action. The
penalty is the one of `PENALTIES` with the smallest squared error on the rows that were held out. Whatever this model
gets wrong costs the doubly robust estimate width, not truth (Dudik, Langford and Li 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.linalg import solve

from experiments.bandit_log import BanditLog, Codes
from experiments.moments import Floats
from experiments.policies import Policy

FOLDS: Final = 5
PENALTIES: Final = (1.0, 10.0, 100.0, 1000.0)
MOST_FEATURES: Final = 600
"""Columns of context by action, above which a context counts alike for all actions."""
_MOST_WORDS: Final = 50


@dataclass(frozen=True, slots=True)
class Expected:
    """Predicted rewards (n,): of the action that was chosen, and of the policy on average."""

    chosen: Floats
    policy: Floats


def expected_rewards(log: BanditLog, policy: Policy, rng: np.random.Generator) -> Expected:
    """Return what each row is expected to earn. Folds are drawn by unit: rows of one unit are never apart."""
    around = _around(log)  # (n, d): position and context
    count, width = len(log.actions), around.shape[1]
    crossed = count * width <= MOST_FEATURES
    features = sparse.hstack(
        [around, _one_hot(log.action, count), *([_crossed(around, log.action, count)] if crossed else [])]
    )
    features = features.tocsr()
    fold = rng.integers(0, FOLDS, int(log.unit.max()) + 1)[log.unit]
    fits, means = _fitted(features, log.reward, fold)
    chosen, average = np.zeros(len(log)), np.zeros(len(log))
    for at, weights in enumerate(fits):
        kept = fold == at
        chosen[kept] = features[kept] @ weights + means[at]
        alone, of_action = weights[:width], weights[width : width + count]
        average[kept] = (around[kept] @ alone) + (policy.table @ of_action)[policy.group[kept]] + means[at]
        if crossed:
            slopes = policy.table @ weights[width + count :].reshape(count, width)  # (g, d)
            average[kept] += np.asarray(around[kept].multiply(slopes[policy.group[kept]]).sum(axis=1)).ravel()
    return Expected(chosen, average)


def _fitted(features: sparse.csr_matrix, reward: Floats, fold: Codes) -> tuple[list[Floats], list[float]]:
    """Return the weights that each fold is predicted by, with the best penalty, and the mean that they are around."""
    wrong = np.zeros(len(PENALTIES))
    tried, means = [list[Floats]() for _ in PENALTIES], list[float]()
    for at in range(FOLDS):
        learnt, asked, earned = features[fold != at], features[fold == at], reward[fold != at]
        means.append(float(earned.mean()) if len(earned) else 0.0)
        gram, target = (learnt.T @ learnt).toarray(), learnt.T @ (earned - means[at])
        for which, penalty in enumerate(PENALTIES):
            weights = solve(gram + penalty * np.eye(len(gram)), target, assume_a="pos")
            tried[which].append(weights)
            wrong[which] += float(((asked @ weights + means[at] - reward[fold == at]) ** 2).sum())
    return tried[int(wrong.argmin())], means


def _around(log: BanditLog) -> sparse.csr_matrix:
    parts = [_one_hot(log.position, len(log.positions))]
    for values in log.numbers:
        known = np.where(np.isnan(values), np.nanmean(values) if not np.isnan(values).all() else 0.0, values)
        parts.append(sparse.csr_matrix(((known - known.mean()) / (known.std() or 1.0))[:, None]))
    for words in log.words:
        usual = np.argsort(-np.bincount(words.codes), kind="stable")[:_MOST_WORDS]
        place = np.full(len(words.names), len(usual))  # all rarer ones together
        place[usual] = np.arange(len(usual))
        parts.append(_one_hot(place[words.codes], len(usual) + 1))
    return sparse.hstack(parts).tocsr()


def _one_hot(codes: Codes, count: int) -> sparse.csr_matrix:
    rows = np.arange(len(codes) + 1)
    return sparse.csr_matrix((np.ones(len(codes)), codes, rows), shape=(len(codes), count))


def _crossed(around: sparse.csr_matrix, action: Codes, count: int) -> sparse.csr_matrix:
    """Return the context in the columns of the row's action, (n, count * d)."""
    entries = around.tocoo()
    columns = action[entries.row] * around.shape[1] + entries.col
    return sparse.csr_matrix((entries.data, (entries.row, columns)), shape=(around.shape[0], count * around.shape[1]))
