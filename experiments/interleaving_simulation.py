"""How many pages it takes to see which of two rankings is liked better: interleaved, and in two groups. Pure."""

from __future__ import annotations

import numpy as np

from experiments.interleaving import credit, team_draft
from experiments.sequences import FIRST_LOOK, interval
from experiments.thompson import Floats

ITEMS, SHOWN = 40, 10
LOOKED = 1.0 / np.arange(1.0, SHOWN + 1.0)
"""Position bias: a visitor looks at a position with this probability, and clicks what is looked at by its taste."""


def pages_needed(pages: int, seed: int, noise: tuple[float, float] = (1.0, 0.7)) -> tuple[int | None, int | None]:
    """Return the pages until the always-valid interval leaves out 0: interleaved, and A/B. None: not within `pages`.

    Each page's visitor has a taste of 40 items; a ranking sorts by it with noise, the second with less.
    """
    rng = np.random.default_rng(seed)
    credits, clicks = np.zeros(pages), np.zeros((pages, 2))
    for page in range(pages):
        taste = rng.normal(size=ITEMS)
        likes = 0.3 / (1.0 + np.exp(-2.0 * (taste - 1.0)))
        rankings = [
            [str(i) for i in np.argsort(-(taste + one * rng.normal(size=ITEMS)), kind="stable")] for one in noise
        ]
        shown, teams = team_draft(rankings[0], rankings[1], SHOWN, rng)
        credits[page] = credit(shown, teams, _clicked(shown, likes, rng))
        for at, ranking in enumerate(rankings):
            clicks[page, at] = len(_clicked(ranking[:SHOWN], likes, rng))
    group = rng.integers(2, size=pages)
    return _first(credits, pages), _first_apart(clicks[np.arange(pages), group], group, pages)


def _clicked(shown: list[str], likes: Floats, rng: np.random.Generator) -> list[str]:
    chance = LOOKED[: len(shown)] * likes[[int(item) for item in shown]]
    return [item for item, hit in zip(shown, rng.random(len(shown)) < chance, strict=True) if hit]


def _first(values: Floats, planned: int) -> int | None:
    n = np.arange(1.0, len(values) + 1.0)
    mean = values.cumsum() / n
    return _outside(mean, ((values**2).cumsum() / n - mean**2) / n, n, planned)


def _first_apart(values: Floats, group: np.ndarray[tuple[int], np.dtype[np.int64]], planned: int) -> int | None:
    n, means, spreads = np.arange(1.0, len(values) + 1.0), [], []
    for at in (0, 1):
        count = np.maximum((group == at).cumsum(), 1)
        mean = np.where(group == at, values, 0.0).cumsum() / count
        means.append(mean)
        spreads.append((np.where(group == at, values**2, 0.0).cumsum() / count - mean**2) / count)
    return _outside(means[1] - means[0], spreads[0] + spreads[1], n, planned)


def _outside(estimate: Floats, variance: Floats, n: Floats, planned: int) -> int | None:
    low, high = interval(estimate, variance, n, planned)
    found = np.flatnonzero(((low > 0.0) | (high < 0.0)) & (n >= FIRST_LOOK))
    return int(n[found[0]]) if len(found) else None
