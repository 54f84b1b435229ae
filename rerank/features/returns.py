"""Return features: how the visitor goes back and forth between items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rerank.features.arrays import newer_of_same
from rerank.features.block import SHARE, Columns, Feature, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]

_COUNT = (0, CLICKS - 1)
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
    candidates, contexts = inputs.candidates, inputs.contexts
    _returns(
        out, window=inputs.window, in_window=inputs.in_window, lengths=contexts.lengths, request=candidates.request
    )


def _returns(
    out: Columns, *, window: Rows, in_window: Mask, lengths: NDArray[np.int32], request: NDArray[np.int32]
) -> None:
    """Write the features of windows (b, w), newest first, in which the candidates stand at `in_window` (w, c)."""
    clicks = window.shape[1]
    newer = newer_of_same(window)  # (b, w, w)
    known = window >= 0
    first = ~newer.any(axis=2) & known  # (b, w) the newest entry of an item
    again = (window[:, 1:] == window[:, :1]) & known[:, :1]  # (b, w - 1) entries from 1 on that are the newest item
    on_newest = again.T.take(request, axis=1)  # (w - 1, c)
    any_click = in_window.any(axis=0)
    place = in_window.argmax(axis=0)
    oldest = clicks - 1 - in_window[::-1].argmax(axis=0)
    since: NDArray[np.int64] = np.cumsum(first, axis=1) - first  # (b, w) distinct items newer than each entry
    older = in_window & (np.arange(clicks)[:, None] > place)
    out["followed_last"] = (on_newest & in_window[:-1]).sum(axis=0)
    out["preceded_last"] = (on_newest[:-1] & in_window[2:]).sum(axis=0)
    out["oldest_place"] = np.where(any_click, oldest, np.nan)
    out["items_since"] = np.where(any_click, since[request, place], np.nan)
    out["first_seen"] = any_click & (oldest == np.minimum(lengths, clicks).take(request) - 1)
    out["own_gap"] = np.where(older.any(axis=0), older.argmax(axis=0) - place, np.nan)
    newest_place = again.argmax(axis=1) + 1 if clicks > 1 else 0
    out["last_times"] = again.sum(axis=1).take(request)
    out["last_place"] = np.where(again.any(axis=1), newest_place, np.nan).take(request)
    came_before = newer.any(axis=1) & known  # (b, w) whether an older entry is the same item
    out["returns"] = came_before[:, :4].sum(axis=1).take(request)
