"""Click-origin features: how the candidate's clicks came about in their sessions, counted without decay.

An entry click begins a session. A repeat is on the item clicked just before. A forward click goes from another item to
one that the session had not clicked. A return goes from another item back to one that it had.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from rerank.features.block import ANY, UP_TO_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs
from retrieval.trends import ClickOrigin

Float32s = NDArray[np.float32]

ENTRY: Final = int(ClickOrigin.ENTRY)
REPEAT: Final = int(ClickOrigin.REPEAT)
FORWARD: Final = int(ClickOrigin.FORWARD)
RETURN: Final = int(ClickOrigin.RETURN)


@block(
    Feature(
        "went_on_to_mean",
        "log((forward and return clicks + 1) / (their mean over all clicked items + 1))",
        ANY,
    ),
    Feature("went_on_share", "log((forward and return clicks + 1) / (clicks + 1.5))", UP_TO_ZERO),
    Feature("came_back_share", "log((return clicks + 0.3) / (forward and return clicks + 3))", UP_TO_ZERO),
    Feature("again_share", "log((repeat clicks + 0.3) / (clicks + 3))", UP_TO_ZERO),
)
def click_origins(out: Columns, inputs: Inputs) -> None:
    """How often sessions come to the candidate from another item, return to it, or click it again.

    The mean keeps `went_on_to_mean` from growing with the age of the counts. The added clicks make shares of few clicks
    say little.
    """
    counts = inputs.trends.origin_counts_at(inputs.trend_rows)  # (c, 4)
    _click_origins(counts, inputs.trends.transitions_per_item, out.array)


@kernel(reads("f4", 2), "f8", writes("f4", 2))
def _click_origins(counts: Float32s, mean_moved: float, out: Float32s) -> None:
    """Write the block's rows (4, c): logs of smoothed shares of clicks (c, 4) by origin."""
    for at in range(counts.shape[0]):
        repeated, returned = counts[at, REPEAT], counts[at, RETURN]
        moved = counts[at, FORWARD] + returned
        clicks = counts[at, ENTRY] + repeated + moved
        out[0, at] = math.log((moved + 1.0) / (mean_moved + 1.0))
        out[1, at] = math.log((moved + 1.0) / (clicks + 1.5))
        out[2, at] = math.log((returned + 0.3) / (moved + 3.0))
        out[3, at] = math.log((repeated + 0.3) / (clicks + 3.0))
