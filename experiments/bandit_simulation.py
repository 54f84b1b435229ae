"""A bandit played against a known truth: what it loses against the best variant, as a share of uniform's loss. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.assignment import drawn
from experiments.thompson import Floats, Sums, cell_posterior, posterior, shares

Codes = NDArray[np.int64]
PAGE_MS = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """Pages (n,): arm, reward, propensity. `regret`: what was lost against the best, 1 is as much as uniform loses."""

    arm: Codes
    reward: Floats
    propensity: Floats
    regret: float


def stationary(pages: int) -> Floats:
    """Return reward probabilities (n, 3) that stay."""
    return np.tile([0.04, 0.05, 0.08], (pages, 1))


def drifting(pages: int) -> Floats:
    """Return reward probabilities (n, 3) whose best variant changes at the middle."""
    truth = stationary(pages)
    truth[pages // 2 :] = [0.12, 0.05, 0.04]
    return truth


def contextual(pages: int) -> tuple[Floats, Codes]:
    """Return reward probabilities (n, 3), and the cell of each page: each of two segments has another best variant."""
    cells = np.arange(pages) % 2
    return np.where(cells[:, None] == 0, [0.04, 0.05, 0.10], [0.10, 0.05, 0.04]), cells


def played(
    truth: Floats,
    *,
    seed: int,
    cells: Codes | None = None,
    delay: int = 0,
    half_life_ms: float = 1e12,
    floor: float = 0.02,
    every: int = 100,
) -> Run:
    """Play truth (n, k), a page a second. Shares change every `every` pages; rewards are known `delay` pages late."""
    n, k = truth.shape
    cell = np.zeros(n, np.int64) if cells is None else cells
    reward = np.zeros(n)
    coins: Floats = np.asarray(np.random.default_rng(seed).random(n))
    arm, propensity, known = np.zeros(n, np.int64), np.zeros(n), 0
    whole, held = Sums.none(k), [Sums.none(k) for _ in range(int(cell.max()) + 1)]
    for start in range(0, n, every):
        until, now_ms = max(0, start - delay), start * PAGE_MS
        seen = np.arange(known, until)
        whole = whole.plus(_sums(arm, reward, seen, k, now_ms), half_life_ms)
        held = [
            one.plus(_sums(arm, reward, seen[cell[seen] == at], k, now_ms), half_life_ms) for at, one in enumerate(held)
        ]
        known = until
        tables: list[Floats] = [
            shares(*(posterior(whole) if cells is None else cell_posterior(one, whole)), floor) for one in held
        ]  # of each cell (k,)
        for at in range(start, min(n, start + every)):
            arm[at] = drawn(str(seed), f"s{at}", tables[cell[at]].tolist())
            propensity[at] = tables[cell[at]][arm[at]]
            reward[at] = coins[at] < truth[at, arm[at]]
    best = truth.max(axis=1)
    lost = float((best - truth[np.arange(n), arm]).sum()) / float((best - truth.mean(axis=1)).sum())
    return Run(arm, reward, propensity, lost)


def _sums(arm: Codes, reward: Floats, rows: Codes, k: int, now_ms: int) -> Sums:
    pages = np.bincount(arm[rows], minlength=k).astype(np.float64)
    return Sums(now_ms, pages, np.bincount(arm[rows], reward[rows], minlength=k).astype(np.float64))
