"""Popularity features: decayed clicks, recent clicks, click-through rate, and places in the lists made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rerank.features.block import ANY, FROM_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs

Float32s = NDArray[np.float32]


@block(
    Feature("trending_rank", "place among the trending items, 0 first", FROM_ZERO, nan="not a candidate of `trending`"),
    Feature(
        "recent_rank",
        "place among the items with most recent clicks, 0 first",
        FROM_ZERO,
        nan="not a candidate of `recent`",
    ),
    Feature(
        "new_rank",
        "place among the new items, 0 for the one with most recent clicks",
        FROM_ZERO,
        nan="not a candidate of `new`",
    ),
    Feature("popularity", "log(1 + decayed clicks)", FROM_ZERO),
    Feature("popularity_to_top", "log((decayed clicks + 0.1) / (those of the most popular item + 0.1))", ANY),
    Feature("recent", "log(1 + recent clicks)", FROM_ZERO),
    Feature("recent_to_top", "log((recent clicks + 0.1) / (the most recent clicks of any item + 0.1))", ANY),
    Feature("momentum", "log((recent clicks + 0.1) / (recent clicks that the popularity would give + 0.1))", ANY),
    Feature("ctr", "clicks per impression, smoothed by 20 impressions at the rate of all items", FROM_ZERO),
)
def popularity(out: Columns, inputs: Inputs) -> None:
    """How much the candidate is clicked, whoever asks.

    Decayed clicks halve every 12 hours (`TREND__HALF_LIFE`), recent ones 48 times as fast (`TREND__RECENT_PACE`).
    """
    candidates, trends, rows = inputs.candidates, inputs.trends, inputs.trend_rows
    latest_ms = int(inputs.contexts.now_ms.max())
    top = trends.popularity_of(trends.trending(latest_ms, 1), latest_ms)
    top_recent = trends.recent_at(trends.rows_of(trends.recent(latest_ms, 1)), latest_ms)
    out["trending_rank"] = candidates.trending_rank
    out["recent_rank"] = candidates.recent_rank
    out["new_rank"] = candidates.new_rank
    out["ctr"] = trends.ctr_at(rows)
    _popularity(
        out,
        decayed=inputs.popularity,
        recent=trends.recent_at(rows, inputs.now_ms),
        top=float(top.max(initial=0.0)),
        top_recent=float(top_recent.max(initial=0.0)),
        recent_pace=trends.rules.recent_pace,
    )


def _popularity(
    out: Columns, *, decayed: Float32s, recent: Float32s, top: float, top_recent: float, recent_pace: float
) -> None:
    """Compare decayed and recent clicks (c,) with the largest of any item, and with each other."""
    out["popularity"] = np.log1p(decayed)
    out["popularity_to_top"] = np.log((decayed + 0.1) / (top + 0.1))
    out["recent"] = np.log1p(recent)
    out["recent_to_top"] = np.log((recent + 0.1) / (top_recent + 0.1))
    out["momentum"] = np.log((recent + 0.1) / (decayed / recent_pace + 0.1))
