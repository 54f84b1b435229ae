"""Several metrics at once: p-values corrected for how many were looked at. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from experiments.moments import Floats


def holm(p_values: ArrayLike) -> Floats:
    """Return corrected p-values (m,): below alpha, fewer than alpha of all families hold any false finding.

    Holm (1979), whatever the metrics have to do with each other. A NaN, of a metric that cannot be told, stays one and
    does not count.
    """
    return _of_known(p_values, _holm)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return corrected p-values (m,): of the findings below alpha, a share of alpha is false on average.

    Benjamini and Hochberg (1995), for metrics that are independent or go up together. NaN as in `holm`.
    """
    return _of_known(p_values, lambda known: np.asarray(false_discovery_control(known, method="bh")))


def _holm(p_values: Floats) -> Floats:
    order = np.argsort(p_values, kind="stable")
    steps = np.minimum(1.0, p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty_like(steps)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected


def _of_known(p_values: ArrayLike, correct: Callable[[Floats], Floats]) -> Floats:
    values = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if known.any():
        values[known] = correct(values[known])
    return values


CORRECTIONS: Final[Mapping[str, Callable[[ArrayLike], Floats]]] = {
    "holm": holm,
    "benjamini-hochberg": benjamini_hochberg,
    "none": lambda p_values: np.array(p_values, dtype=np.float64),
}
"""By the name that the command line knows."""
