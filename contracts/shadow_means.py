"""Means of what a candidate in the shadow would have answered, from the sums that gateways keep."""

from __future__ import annotations

import math
from collections.abc import Mapping

OF = {"overlap_at_10": ("overlap", "answers"), "rank_correlation": ("correlation", "correlated")} | {
    "score_difference": ("difference", "common")
}
"""A mean by its sum, and what that is divided by."""


def means(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Return how many answers were compared, and the means of their figures; None for one that none had, or whose sums
    are damaged.
    """
    found: dict[str, float | None] = {"answers": sums.get("answers", 0.0)}
    for name, (total, count) in OF.items():
        mean = sums[total] / sums[count] if total in sums and sums.get(count, 0.0) > 0 else math.nan
        found[name] = mean if math.isfinite(mean) else None
    return found
