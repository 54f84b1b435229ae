"""May a candidate take the place of the models that serve? Pure: figures in, a ruling out.

Not worse is shown, not assumed: the interval of the change must lie above what may be lost. So a candidate that was
judged on too few pages does not pass either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

METRICS: Final = ("mrr", "hit_rate", "map", "hit_price", "hit_margin", "bought_price")
"""By which models may be judged: more is better."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the models that serve and of the candidate, and the 95% interval of what the candidate changes."""

    serving: float
    candidate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether the candidate passes, and why, in one sentence."""

    passes: bool
    why: str


def ruling(changes: Mapping[str, Change], metrics: tuple[str, ...], may_lose: float) -> Ruling:
    """Return whether a candidate passes: in each metric it loses at most the share `may_lose` of what serves, for sure.

    Raises ValueError for a metric that was not measured.
    """
    missing = [name for name in metrics if name not in changes or math.isnan(changes[name].low)]
    if missing or not metrics:
        told = ", ".join(name for name, one in changes.items() if not math.isnan(one.low))
        raise ValueError(f"expected metrics that this recording can tell, {told}; got {', '.join(missing) or 'none'}")
    for name in metrics:
        one = changes[name]
        least = -may_lose * abs(one.serving)
        if one.low >= least:
            continue
        said = f"{name} {one.serving:.4f} becomes {one.candidate:.4f} [{one.low:+.4f}, {one.high:+.4f}]"
        if one.high < 0.0:
            return Ruling(False, f"Worse: {said}.")
        return Ruling(
            False, f"Not shown to be as good: {said}, may lose {-least:.4f} at most. Ask more questions (--questions)."
        )
    first = changes[metrics[0]]
    better = "Better" if first.low > 0.0 else "As good"
    said = f"{metrics[0]} {first.serving:.4f} becomes {first.candidate:.4f} [{first.low:+.4f}, {first.high:+.4f}]"
    return Ruling(True, f"{better}: {said}.")
