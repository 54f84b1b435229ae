"""Window features: what the session's window is like, and where the candidate stands in it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.events import EventCode
from rerank.features.arrays import newer_of_same
from rerank.features.block import FROM_ZERO, SHARE, Columns, Feature, Range, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.key_rows import Keys

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Mask = NDArray[np.bool_]

_OLDEST_HOURS: Final = 7 * 24.0
"""Items older than this have the same age: a recorded log does not know when they came."""
_AGES: Final[Range] = (0.0, math.log1p(_OLDEST_HOURS))
_NO_NEWEST: Final = "no click, or its item is not in the catalogue"


@block(
    Feature("times_in_window", f"how many of the newest {CLICKS} window entries are the candidate", (0, CLICKS)),
    Feature(
        "place_in_window", "place of the newest of them, 0 the newest click", (0, CLICKS - 1), nan="not in the window"
    ),
    Feature("item_age", "log(1 + hours since the candidate came), at most a week", _AGES),
    Feature("window_length", "log(1 + clicks in the window)", FROM_ZERO),
    Feature("window_items", f"distinct items of the newest {CLICKS} window entries", (0, CLICKS)),
    Feature("last_code", "event code of the newest window entry", (0, max(EventCode)), nan="no click"),
    Feature("cart_share", f"share of cart and purchase events in the newest {CLICKS} window entries", SHARE),
    Feature(
        "last_dwell", "log(1 + seconds between the two newest window entries)", FROM_ZERO, nan="fewer than two clicks"
    ),
    Feature("last_age", "log(1 + hours since the newest item came), at most a week", _AGES, nan=_NO_NEWEST),
    Feature("last_recent", "log(1 + recent clicks of the newest item)", FROM_ZERO, nan=_NO_NEWEST),
)
def window(out: Columns, inputs: Inputs) -> None:
    """The session's window, and the candidate's place in it."""
    contexts, candidates, catalogue, trends = inputs.contexts, inputs.candidates, inputs.catalogue, inputs.trends
    last, request = contexts.rows[:, 0], candidates.request  # (b,), (c,)
    _places(out, in_window=inputs.in_window)
    _windows(
        out,
        keys=contexts.keys[:, :CLICKS],
        codes=contexts.codes[:, :CLICKS],
        ts_ms=contexts.ts_ms[:, :2],
        lengths=contexts.lengths,
        request=request,
    )
    _newest(
        out,
        known=last >= 0,
        age=_age(contexts.now_ms, catalogue.created_ms[last]),
        recent=trends.recent_at(trends.rows_of(catalogue.keys[last]), contexts.now_ms),
        request=request,
    )
    out["item_age"] = _age(inputs.now_ms, catalogue.created_ms[candidates.rows])


def _places(out: Columns, *, in_window: Mask) -> None:
    """Count the candidate's window entries; `in_window` (w, c) says which are its own."""
    times = in_window.sum(axis=0)
    out["times_in_window"] = times
    out["place_in_window"] = np.where(times > 0, in_window.argmax(axis=0), np.nan)


def _windows(
    out: Columns,
    *,
    keys: Keys,
    codes: NDArray[np.uint8],
    ts_ms: Int64s,
    lengths: NDArray[np.int32],
    request: NDArray[np.int32],
) -> None:
    """Describe windows of `lengths` (b,) by their newest entries: `keys` and `codes` (b, w), `ts_ms` (b, 2)."""
    newest = np.minimum(lengths, CLICKS)
    used = np.arange(keys.shape[1]) < newest[:, None]  # (b, w)
    repeats = (newer_of_same(keys).any(axis=2) & used).sum(axis=1)
    taken = (codes == EventCode.CART) | (codes == EventCode.PURCHASE)
    dwell = np.full(len(lengths), np.nan)
    if keys.shape[1] > 1:
        two = lengths > 1
        dwell_s = np.where(two, (ts_ms[:, 0] - ts_ms[:, 1]) / 1000.0, 0.0)
        dwell = np.where(two, np.log1p(np.maximum(dwell_s, 0.0)), np.nan)
    out["window_length"] = np.log1p(lengths).take(request)
    out["window_items"] = (newest - repeats).take(request)
    out["last_code"] = np.where(lengths > 0, codes[:, 0], np.nan).take(request)
    out["cart_share"] = ((taken & used).sum(axis=1) / np.maximum(newest, 1)).take(request)
    out["last_dwell"] = dwell.take(request)


def _newest(out: Columns, *, known: Mask, age: Float32s, recent: Float32s, request: NDArray[np.int32]) -> None:
    """Tell the age and the recent clicks (b,) of each request's newest item, where it is `known` (b,)."""
    out["last_age"] = np.where(known, age, np.nan).take(request)
    out["last_recent"] = np.where(known, np.log1p(recent), np.nan).take(request)


def _age(now_ms: Int64s, created_ms: Int64s) -> Float32s:
    """Return log(1 + age in hours)."""
    hours = (now_ms - created_ms) / 3_600_000.0
    return np.log1p(np.clip(hours, 0.0, _OLDEST_HOURS)).astype(np.float32)
