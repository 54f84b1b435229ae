"""Thompson sampling over variants: sums that fade, and the probabilities of a draw. Pure, numpy only.

A reward is 0 or 1 a shown page. Sums are kept as of one moment, with weights that halve every `half_life_ms` (forward
decay, Cormode et al. 2009), so that any process may add its own, in any order. The share of a variant is the
probability that its beta posterior is the largest, by quadrature: it
is what is logged as propensity, and what `contracts.assignment.drawn` draws by.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
PRIOR: Final = (1.0, 1.0)
_STEPS: Final = np.sinh(np.linspace(-4.1, 4.1, 257)) / np.sinh(4.1)
"""Points of a posterior's grid, from -1 to 1, close to each other about 0."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Shown pages and rewards of each variant (k,), as of `at_ms`."""

    at_ms: int
    pages: Floats
    rewards: Floats

    @classmethod
    def none(cls, variants: int, at_ms: int = 0) -> Sums:
        """Return sums of nothing."""
        return cls(at_ms, np.zeros(variants), np.zeros(variants))

    def at(self, now_ms: int, half_life_ms: float) -> Sums:
        """Return the sums as they weigh at `now_ms`; an earlier moment changes nothing."""
        if half_life_ms <= 0.0:
            raise ValueError(f"expected a half-life above 0 ms, got {half_life_ms}")
        kept = 0.5 ** (max(0, now_ms - self.at_ms) / half_life_ms)
        return Sums(max(now_ms, self.at_ms), self.pages * kept, self.rewards * kept)

    def plus(self, other: Sums, half_life_ms: float) -> Sums:
        """Return both together, as of the later moment: what comes late weighs as its own age says."""
        if self.pages.shape != other.pages.shape:
            raise ValueError(f"expected sums of {len(self.pages)} variants, got {len(other.pages)}")
        now = max(self.at_ms, other.at_ms)
        one, two = self.at(now, half_life_ms), other.at(now, half_life_ms)
        return Sums(now, one.pages + two.pages, one.rewards + two.rewards)

    def encode(self) -> bytes:
        """Return the record."""
        return json.dumps([self.at_ms, self.pages.tolist(), self.rewards.tolist()]).encode()

    @classmethod
    def decode(cls, record: bytes) -> Sums:
        """Return the sums of a record. Raises ValueError for another thing."""
        try:
            at_ms, pages, rewards = json.loads(record)
            sums = cls(int(at_ms), np.asarray(pages, np.float64), np.asarray(rewards, np.float64))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"expected a record of [at_ms, pages, rewards], got {record[:80]!r}") from error
        held = np.concatenate((sums.pages.ravel(), sums.rewards.ravel()))
        if (
            sums.pages.ndim != 1
            or sums.pages.shape != sums.rewards.shape
            or not (np.isfinite(held) & (held >= 0)).all()
        ):
            raise ValueError(f"expected a page and a reward sum of at least 0 a variant, got {record[:80]!r}")
        return sums


def posterior(sums: Sums, prior: tuple[float, float] = PRIOR) -> tuple[Floats, Floats]:
    """Return both parameters (k,) of each variant's beta posterior. A reward without its page yet counts as a page."""
    missed = np.maximum(sums.pages - sums.rewards, 0.0)
    return prior[0] + sums.rewards, prior[1] + missed


def cell_posterior(cell: Sums, whole: Sums, strength: float = 50.0) -> tuple[Floats, Floats]:
    """Return the posterior of one cell of the context: its prior is the mean of the whole, worth `strength` pages.

    A whole that has seen less is worth no more than what it has seen.
    """
    a, b = posterior(whole)
    worth = np.minimum(strength, a + b)
    return posterior_of(cell, worth * a / (a + b), worth * b / (a + b))


def posterior_of(sums: Sums, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the posterior after a prior (k,) of each variant's own."""
    return a + sums.rewards, b + np.maximum(sums.pages - sums.rewards, 0.0)


def largest(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return the probability (k,) that each beta posterior is the largest: trapezoids over the log odds.

    Raises ValueError for parameters that are not above 0.
    """
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[:, None]
    if not ((a > 0.0) & (b > 0.0)).all():
        raise ValueError(f"expected parameters above 0, got a {a.ravel().tolist()}, b {b.ravel().tolist()}")
    reach = 30.0 * (np.sqrt((a + b) / (a * b)) + 1.0 / np.minimum(np.minimum(a, b), 30.0) * (np.minimum(a, b) < 3.0))
    x = np.unique(np.log(a / b) + reach * _STEPS)  # (m,)
    density = -a * np.logaddexp(0.0, -x) - b * np.logaddexp(0.0, x)  # (k, m)
    density = np.exp(density - density.max(axis=1, keepdims=True))
    areas = 0.5 * (density[:, 1:] + density[:, :-1]) * np.diff(x)  # (k, m - 1)
    areas /= areas.sum(axis=1, keepdims=True)
    middle = np.cumsum(areas, axis=1) - 0.5 * areas  # P(below the middle of each step)
    won = np.array([(areas[at] * np.delete(middle, at, axis=0).prod(axis=0)).sum() for at in range(len(a))])
    return np.asarray(won / won.sum())


def shares(a: Floats, b: Floats, floor: float = 0.05) -> Floats:
    """Return the probability (k,) of each variant, none below `floor`. Raises ValueError where floors leave no room."""
    if not 0.0 <= floor * len(a) <= 1.0:
        raise ValueError(f"expected a floor of 0 to {1.0 / len(a):.4f} for {len(a)} variants, got {floor}")
    return floor + (1.0 - floor * len(a)) * largest(a, b)
