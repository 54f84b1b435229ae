"""Popularity features: decayed clicks, recent clicks, click-through rate, and places in the lists made of them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.decay import cooled
from compiled.kernels import inlined, kernel, reads, writes
from compiled.lookups import row_of
from rerank.features.block import ANY, FROM_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs
from retrieval.key_rows import Keys, Rows

Float32s = NDArray[np.float32]

_FROM_COUNTS: Final = 3
"""The block's first row that is made of counts; those before it are places in lists."""


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
    candidates, trends = inputs.candidates, inputs.trends
    latest_ms = inputs.contexts.latest_ms
    out["trending_rank"] = candidates.trending_rank
    out["recent_rank"] = candidates.recent_rank
    out["new_rank"] = candidates.new_rank
    out["ctr"] = trends.ctr_at(inputs.trend_rows)
    _popularity(
        inputs.popularity,
        inputs.recent,
        *trends.slots,
        trends.heat,
        trends.recent_heat,
        trends.trending(latest_ms, 1),
        trends.recent(latest_ms, 1),
        latest_ms,
        trends.rules.half_life_ms,
        trends.rules.recent_half_life_ms,
        trends.rules.recent_pace,
        out.array[_FROM_COUNTS:],
    )


@kernel(
    *(reads("f4"), reads("f4"), reads("u8"), reads("i4"), reads("f8"), reads("f8"), reads("u8"), reads("u8")),
    *("i8", "f8", "f8", "f8", writes("f4", 2)),
)
def _popularity(
    decayed: Float32s,
    recent: Float32s,
    slot_keys: Keys,
    slot_rows: Rows,
    heat: NDArray[np.float64],
    recent_heat: NDArray[np.float64],
    hottest: Keys,
    hottest_lately: Keys,
    latest_ms: int,
    half_life_ms: float,
    recent_half_life_ms: float,
    recent_pace: float,
    out: Float32s,
) -> None:
    """Write the rows (5, c) from `popularity` on: decayed and recent clicks (c,) beside the largest of any item, which
    are those of `hottest` and `hottest_lately` (1,) or none (0,), and beside each other.
    """
    top = _largest(slot_keys, slot_rows, heat, hottest, latest_ms, half_life_ms)
    top_recent = _largest(slot_keys, slot_rows, recent_heat, hottest_lately, latest_ms, recent_half_life_ms)
    for at in range(len(decayed)):
        slow, quick = float(decayed[at]), float(recent[at])
        out[0, at] = math.log1p(slow)
        out[1, at] = math.log((slow + 0.1) / (top + 0.1))
        out[2, at] = math.log1p(quick)
        out[3, at] = math.log((quick + 0.1) / (top_recent + 0.1))
        out[4, at] = math.log((quick + 0.1) / (slow / recent_pace + 0.1))


@inlined
def _largest(
    slot_keys: Keys, slot_rows: Rows, heat: NDArray[np.float64], hottest: Keys, now_ms: int, half_life_ms: float
) -> float:
    """Return the count of the hottest key; 0 where there is none."""
    row = row_of(slot_keys, slot_rows, hottest[0]) if len(hottest) else -1
    return float(cooled(heat[row], now_ms, half_life_ms)) if row >= 0 else 0.0
