"""Return features: how the visitor goes back and forth between items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from rerank.features.block import SHARE, Columns, Feature, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]

_COUNT = (0, CLICKS - 1)
_NEWEST = 4
"""Clicks of which `returns` counts how many go back."""
_NOT_IN_WINDOW = "not in the window"


@block(
    Feature(
        "followed_last", "how often the candidate was clicked right after an earlier click on the newest item", _COUNT
    ),
    Feature("preceded_last", "how often it was clicked right before such a click", _COUNT),
    Feature("oldest_place", "place of the candidate's oldest click, 0 the newest click", _COUNT, nan=_NOT_IN_WINDOW),
    Feature("items_since", "distinct items clicked since the candidate's newest click", _COUNT, nan=_NOT_IN_WINDOW),
    Feature("first_seen", "1 if the oldest entry looked at is the candidate", SHARE),
    Feature(
        "own_gap",
        "clicks from the candidate's second newest click to its newest",
        (1, CLICKS - 1),
        nan="clicked less than twice",
    ),
    Feature("last_times", "earlier clicks on the newest item", _COUNT),
    Feature("last_place", "place of the newest of them, 0 the newest click", (1, CLICKS - 1), nan="no earlier click"),
    Feature("returns", "how many of the newest four clicks are on an item that was clicked before", (0, 4)),
)
def returns(out: Columns, inputs: Inputs) -> None:
    """How the visitor goes back and forth within the newest ten window entries.

    `last_times`, `last_place` and `returns` describe the request alone.
    """
    contexts = inputs.contexts
    _returns(inputs.candidates.rows, inputs.candidates.starts, contexts.rows, contexts.lengths, out.array)


@kernel(reads("i4"), reads("i8"), reads("i4", 2), reads("i4"), writes("f4", 2))
def _returns(rows: Rows, starts: NDArray[np.intp], windows: Rows, lengths: NDArray[np.int32], out: Float32s) -> None:
    """Write the block's rows (9, c) from the newest entries of windows (b, w), newest first."""
    clicks = min(CLICKS, windows.shape[1])
    distinct_before = np.zeros(CLICKS, np.int64)
    for request in range(len(starts) - 1):
        newest = windows[request, 0]
        last_times, last_place, back, distinct = 0, 0, 0, 0
        for place in range(clicks):
            row = windows[request, place]
            distinct_before[place] = distinct
            if row < 0:
                continue
            is_first, is_repeated = True, False
            for other in range(clicks):
                if windows[request, other] == row:
                    is_first = is_first and other >= place
                    is_repeated = is_repeated or other > place
            distinct += is_first
            back += is_repeated and place < _NEWEST
            if place > 0 and row == newest:
                last_times += 1
                if last_place == 0:
                    last_place = place
        oldest_entry = min(int(lengths[request]), clicks) - 1
        for at in range(starts[request], starts[request + 1]):
            row = rows[at]
            followed, preceded, place, second, oldest = 0, 0, -1, -1, -1
            for entry in range(clicks):
                if windows[request, entry] != row:
                    continue
                oldest = entry
                if place < 0:
                    place = entry
                elif second < 0:
                    second = entry
                if newest >= 0:
                    followed += entry + 1 < clicks and windows[request, entry + 1] == newest
                    preceded += entry >= 2 and windows[request, entry - 1] == newest
            out[0, at], out[1, at] = followed, preceded
            out[2, at] = oldest if place >= 0 else np.nan
            out[3, at] = distinct_before[place] if place >= 0 else np.nan
            out[4, at] = place >= 0 and oldest == oldest_entry
            out[5, at] = second - place if second >= 0 else np.nan
            out[6, at] = last_times
            out[7, at] = last_place if last_times else np.nan
            out[8, at] = back
