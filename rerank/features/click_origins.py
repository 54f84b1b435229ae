"""Click-origin features: how the candidate's clicks came about in their sessions, counted without decay.

An entry click begins a session. A repeat is on the item clicked just before. A forward click goes from another item to
one that the session had not clicked. A return goes from another item back to one that it had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rerank.features.block import ANY, UP_TO_ZERO, Columns, Feature, block
from rerank.features.inputs import Inputs
from retrieval.trends import ClickOrigin

Float32s = NDArray[np.float32]


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
    counts = inputs.trends.origin_counts_at(inputs.trend_rows).T  # (4, c)
    _click_origins(
        out,
        clicks=counts.sum(axis=0),
        moved=counts[ClickOrigin.FORWARD] + counts[ClickOrigin.RETURN],
        returned=counts[ClickOrigin.RETURN],
        repeated=counts[ClickOrigin.REPEAT],
        mean_moved=inputs.trends.transitions_per_item,
    )


def _click_origins(
    out: Columns, *, clicks: Float32s, moved: Float32s, returned: Float32s, repeated: Float32s, mean_moved: float
) -> None:
    """Turn counts (c,) into logs of smoothed shares. `moved` are forward and return clicks."""
    out["went_on_to_mean"] = np.log((moved + 1.0) / (mean_moved + 1.0))
    out["went_on_share"] = np.log((moved + 1.0) / (clicks + 1.5))
    out["came_back_share"] = np.log((returned + 0.3) / (moved + 3.0))
    out["again_share"] = np.log((repeated + 0.3) / (clicks + 3.0))
