"""What is believed of a share after few units: beta posteriors of two variants, compared. Pure, no draws.

The prior is uniform, Beta(1, 1). The chance that the treatment is better and the expected loss follow Miller (Formulas
for Bayesian A/B testing, 2015) and Stucchio (Bayesian A/B testing at VWO, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta

from experiments.moments import Floats

Beta = tuple[float, float]
PRIOR: Final[Beta] = (1.0, 1.0)
_PARTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Posterior:
    """Shares lie within 0 and 1. `low` and `high` hold the difference, treatment less control, with 95% belief.

    `loss` is what choosing the treatment costs on average where it is the worse one, in the units of the share.
    """

    control: float
    treatment: float
    better: float
    loss: float
    low: float
    high: float


def posterior(
    control: tuple[int, int], treatment: tuple[int, int], *, prior: Beta = PRIOR, belief: float = 0.95
) -> Posterior:
    """Compare two variants of (successes, units). Raises ValueError for more successes than units."""
    for hits, units in (control, treatment):
        if not 0 <= hits <= units:
            raise ValueError(f"expected 0 to {units} successes of {units} units, got {hits}")
    old, new = (_updated(prior, *one) for one in (control, treatment))
    tail = (1.0 - belief) / 2.0
    return Posterior(
        control=_mean(old),
        treatment=_mean(new),
        better=chance_above(new, old),
        loss=expected_excess(old, new),
        low=_quantile_of_difference(tail, old, new),
        high=_quantile_of_difference(1.0 - tail, old, new),
    )


def chance_above(one: Beta, other: Beta, by: float = 0.0) -> float:
    """Return the chance that a share of distribution `one` is above one of `other` by more than `by`."""
    return float(beta.sf(_spread(other) + by, *one).mean())


def expected_excess(one: Beta, other: Beta) -> float:
    """Return the mean of max(0, one - other): what is lost by choosing `other`."""
    grown = (one[0] + 1.0, one[1])
    excess = _mean(one) * chance_above(grown, other) - _mean(other) * chance_above(one, (other[0] + 1.0, other[1]))
    return max(0.0, excess)


def _updated(prior: Beta, hits: int, units: int) -> Beta:
    return prior[0] + hits, prior[1] + units - hits


def _mean(one: Beta) -> float:
    return one[0] / (one[0] + one[1])


def _spread(one: Beta) -> Floats:
    """Return the quantiles in the middle of 20,000 equal parts: their mean is an integral, to about 1e-6."""
    return np.asarray(beta.ppf((np.arange(_PARTS) + 0.5) / _PARTS, *one))


def _quantile_of_difference(share: float, old: Beta, new: Beta) -> float:
    """Return where new - old is below with this chance."""
    spread = _spread(old)
    return float(brentq(lambda by: beta.cdf(spread + by, *new).mean() - share, -1.0, 1.0, xtol=1e-6))
