"""What a policy would have earned, from the log of another: importance weighted estimates with intervals. Pure.

| estimate | source |
|---|---|
| ips | Horvitz and Thompson 1952: rewards weighted by policy over logged probability. Unbiased, wide |
| snips | Swaminathan and Joachims 2015: divided by the sum of the weights. Slightly biased, narrower |
| dr | Dudik, Langford and Li 2011: a reward model, its errors weighted. Unbiased where either is right |

Each is a ratio of two sums over rows, so its variance is that of a ratio (delta method), summed by unit first. Where
rewards are 0 or 1 and rows are apart, ips is a weighted sum of rare counts, and has the interval of Fay and Feuer
(1997): it holds where few rewards with large weights make the usual ones too narrow (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from experiments.bandit_log import BanditLog, Codes
from experiments.moments import Floats
from experiments.policies import Policy
from experiments.reward_model import expected_rewards

_CELLS: Final = 5_000_000
"""Numbers that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Value:
    """A mean reward a row, with the ends of its 95% intervals: by its distribution, and by resampled units."""

    name: str
    value: float
    low: float
    high: float
    drawn_low: float
    drawn_high: float

    def holds(self, other: float) -> bool:
        """Whether the first interval holds a value."""
        return self.low <= other <= self.high


@dataclass(frozen=True, slots=True)
class Weights:
    """What the estimates stand on.

    `mean` is 1 but for chance where all propensities are right; `off` is how far it is, in standard errors. `effective`
    is the number of equal weights that would say as much (Kish 1965). `unsupported` is the share of the policy's
    choices that the log never made.
    """

    mean: float
    off: float
    effective: float
    largest: float
    unsupported: float


Sums = tuple[Floats, Floats]
"""Of each row (n,) what is summed above, and what below."""


def own_value(log: BanditLog, rng: np.random.Generator, *, resamples: int = 1000) -> Value:
    """Return what the logging policy itself earned."""
    return _values({"own": (log.reward, np.ones(len(log)))}, log.unit, rng, resamples)[0]


def policy_values(
    log: BanditLog, policy: Policy, rng: np.random.Generator, *, resamples: int = 1000
) -> tuple[list[Value], Weights]:
    """Return the estimates, and what they stand on. `resamples` 0: no resampling, those ends are NaN."""
    weight = policy.of_chosen(log) / log.propensity  # (n,)
    found = expected_rewards(log, policy, rng)
    robust = found.policy + weight * (log.reward - found.chosen)
    sums = {**_weighted(log, weight), "dr": (robust, np.ones(len(log)))}
    values = _values(sums, log.unit, rng, resamples)
    return [_rare(log, weight, values[0]), *values[1:]], weights_of(weight, policy.unsupported(log))


def weighted_values(log: BanditLog, weight: Floats, rng: np.random.Generator, *, resamples: int = 1000) -> list[Value]:
    """Return the estimates that need the weights (n,) alone: of a policy known by the chosen actions only."""
    values = _values(_weighted(log, weight), log.unit, rng, resamples)
    return [_rare(log, weight, values[0]), *values[1:]]


def rare_interval(earned: Floats, largest: float) -> tuple[float, float]:
    """Return the 95% interval of the sum of weighted counts (n,), none of whose weights is above `largest`.

    Fay and Feuer 1997: gamma distributions, the upper one as if one more count of the largest weight had come. Equal
    weights give the exact Poisson interval.
    """
    value, spread = float(earned.sum()), float((earned**2).sum())
    low = spread / (2.0 * value) * chi2.ppf(0.025, 2.0 * value**2 / spread) if value > 0.0 else 0.0
    value, spread = value + largest, spread + largest**2
    return float(low), float(spread / (2.0 * value) * chi2.ppf(0.975, 2.0 * value**2 / spread)) if value > 0.0 else 0.0


def _rare(log: BanditLog, weight: Floats, ips: Value) -> Value:
    """Return the estimate with the interval of rare counts where rewards are that; they are 1 at most."""
    if int(log.unit.max()) + 1 < len(log) or not np.isin(log.reward, (0.0, 1.0)).all():
        return ips
    low, high = rare_interval(weight * log.reward / len(log), float(weight.max()) / len(log))
    return replace(ips, low=low, high=min(1.0, high))


def weights_of(weight: Floats, unsupported: float = 0.0) -> Weights:
    """Return what estimates with these weights (n,) stand on."""
    squares = float((weight**2).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    error = float(weight.std(ddof=1)) / len(weight) ** 0.5 if len(weight) > 1 else 0.0
    off = (float(weight.mean()) + unsupported - 1.0) / error if error else 0.0
    return Weights(float(weight.mean()), off, effective, float(weight.max()), unsupported)


def _weighted(log: BanditLog, weight: Floats) -> dict[str, Sums]:
    return {"ips": (weight * log.reward, np.ones(len(log))), "snips": (weight * log.reward, weight)}


def _values(sums: dict[str, Sums], unit: Codes, rng: np.random.Generator, resamples: int) -> list[Value]:
    """Return the ratio of each pair of sums, all over the same resamples. NaN where nothing is below."""
    held = np.bincount(unit) > 0
    tops, bottoms = (
        np.stack([np.bincount(unit, pair[at]).astype(np.float64)[held] for pair in sums.values()], axis=1)
        for at in (0, 1)
    )  # (u, m)
    drawn = _drawn(tops, bottoms, rng, resamples)  # (r, m)
    return [_value(name, tops[:, at], bottoms[:, at], drawn[:, at]) for at, name in enumerate(sums)]


def _value(name: str, tops: Floats, bottoms: Floats, drawn: Floats) -> Value:
    count, known = len(tops), drawn[~np.isnan(drawn)]
    if bottoms.sum() <= 0.0 or count < 2:
        return Value(name, *[float("nan")] * 5)
    value = float(tops.sum() / bottoms.sum())
    apart = (tops - value * bottoms) / bottoms.mean()
    half = float(student.ppf(0.975, count - 1) * np.sqrt((apart**2).sum() / (count - 1) / count))
    ends = np.quantile(known, (0.025, 0.975)) if len(known) else (float("nan"), float("nan"))
    return Value(name, value, value - half, value + half, float(ends[0]), float(ends[1]))


def _drawn(tops: Floats, bottoms: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the ratios of sums (u, m) in resamples (r, m); NaN where nothing is below.

    Each unit comes as often as a Poisson number of mean 1 says (Chamandy et al. 2012): no draw needs the others.
    """
    found = [np.zeros((0, tops.shape[1]))]
    step = max(1, _CELLS // len(tops))
    for begin in range(0, resamples, step):
        times = rng.poisson(1.0, (min(step, resamples - begin), len(tops))).astype(np.float64)  # (r, u)
        under = times @ bottoms
        found.append(np.where(under > 0.0, times @ tops / np.where(under > 0.0, under, 1.0), np.nan))
    return np.concatenate(found)
