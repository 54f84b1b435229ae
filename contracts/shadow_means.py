"""Means of what a candidate in the shadow would have answered, from the sums that gateways keep."""

from __future__ import annotations

from collections.abc import Mapping

OF = {"overlap_at_10": ("overlap", "answers"), "rank_correlation": ("correlation", "correlated")} | {
    "score_difference": ("difference", "common")
}
"""A mean by its sum, and what that is divided by."""


def means(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Return how many answers were compared, and the means of their figures; None for one that none had."""
    found: dict[str, float | None] = {"answers": sums.get("answers", 0.0)}
    for name, (total, count) in OF.items():
        found[name] = sums[total] / sums[count] if sums.get(count) else None
    return found
