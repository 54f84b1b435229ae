"""Has a click-through rate fallen by more than chance? Pure.

Clicks of an hour are taken as binomial, with a variance that is larger by a factor: Pearson's statistic of the earlier
hours by its degrees of freedom, at least 1 (overdispersion as in quasi-likelihood: McCullagh and Nelder, Generalized
Linear Models, 1989, section 4.5). The rate of the earlier hours is itself uncertain, and adds its own variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

LEAST_DAYS: Final = 3
"""With fewer earlier hours nothing is said: a factor of two of them is a guess."""


class Hour(NamedTuple):
    """What an hour had: items shown, clicks on them."""

    shown: float
    clicks: float


class Compared(NamedTuple):
    """The hour's rate, that of the earlier ones, by how many standard errors it is below, how many are allowed."""

    rate: float
    before: float
    below: float
    allowed: float

    @property
    def fell(self) -> bool:
        return self.below > self.allowed


def compared(hour: Hour, earlier: Sequence[Hour], chance: float = 0.001) -> Compared | None:
    """Compare an hour with the same one of earlier days; `chance` is that of a false alarm. None where there is too
    little to compare: fewer than three earlier hours with clicks, or nothing shown.
    """
    known = [one for one in earlier if one.shown > 0]
    shown, clicks = sum(one.shown for one in known), sum(one.clicks for one in known)
    if len(known) < LEAST_DAYS or hour.shown <= 0 or not 0 < clicks < shown:
        return None
    before, degrees = clicks / shown, len(known) - 1
    pearson = sum((one.clicks - one.shown * before) ** 2 / (one.shown * before * (1 - before)) for one in known)
    spread = max(1.0, pearson / degrees)
    error = math.sqrt(spread * before * (1 - before) * (1 / hour.shown + 1 / shown))
    rate = hour.clicks / hour.shown
    return Compared(rate, before, (before - rate) / error, _allowed(chance, degrees))


def _allowed(chance: float, degrees: int) -> float:
    """Return the quantile of Student's t that a share `chance` lies beyond: by Hill's expansion of the normal one
    (Abramowitz and Stegun, 26.7.5), which is too small for few degrees of freedom, and at least exact for two.
    """
    if degrees == 2:
        two_sided = 1 - 2 * chance
        return two_sided * math.sqrt(2 / (1 - two_sided**2))
    z, n = NormalDist().inv_cdf(1 - chance), degrees
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(n) ** power for power, term in enumerate(terms, 1))
