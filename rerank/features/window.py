"""Window features: what the session's window is like, and where the candidate stands in it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.decay import cooled
from compiled.kernels import inlined, kernel, reads, writes
from compiled.lookups import row_of
from contracts.events import EventCode
from rerank.features.block import FROM_ZERO, SHARE, Columns, Feature, Range, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.key_rows import Keys, Rows

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

_OLDEST_HOURS: Final = 7 * 24.0
"""Items older than this have the same age: a recorded log does not know when they came."""
_AGES: Final[Range] = (0.0, math.log1p(_OLDEST_HOURS))
CART: Final = int(EventCode.CART)
PURCHASE: Final = int(EventCode.PURCHASE)
_NO_NEWEST: Final = "no click, or its item is not in the catalogue"


@block(
    Feature("times_in_window", f"how many of the newest {CLICKS} window entries are the candidate", (0, CLICKS)),
    Feature(
        "place_in_window", "place of the newest of them, 0 the newest click", (0, CLICKS - 1), nan="not in the window"
    ),
    Feature("item_age", "log(1 + hours since the candidate came), at most a week", _AGES),
    Feature("window_length", "log(1 + clicks in the window)", FROM_ZERO),
    Feature("window_items", f"distinct items of the newest {CLICKS} window entries", (0, CLICKS)),
    Feature("last_code", "event code of the newest window entry", (0, PURCHASE), nan="no click"),
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
    _window(
        candidates.rows,
        candidates.starts,
        contexts.rows,
        contexts.keys,
        contexts.codes,
        contexts.ts_ms,
        contexts.lengths,
        contexts.now_ms,
        catalogue.created_ms,
        catalogue.keys,
        *trends.slots,
        trends.recent_heat,
        trends.rules.recent_half_life_ms,
        out.array,
    )


@kernel(
    reads("i4"),
    reads("i8"),
    reads("i4", 2),
    reads("u8", 2),
    reads("u1", 2),
    reads("i8", 2),
    reads("i4"),
    reads("i8"),
    reads("i8"),
    *(reads("u8"), reads("u8"), reads("i4"), reads("f8"), "f8"),
    writes("f4", 2),
)
def _window(
    rows: Rows,
    starts: Int64s,
    windows: Rows,
    keys: Keys,
    codes: NDArray[np.uint8],
    ts_ms: Int64s,
    lengths: NDArray[np.int32],
    now_ms: Int64s,
    created_ms: Int64s,
    item_keys: Keys,
    slot_keys: Keys,
    slot_rows: Rows,
    recent_heat: NDArray[np.float64],
    recent_half_life_ms: float,
    out: Float32s,
) -> None:
    """Write the block's rows (10, c). Windows (b, w) hold `lengths` (b,) entries."""
    for request in range(len(starts) - 1):
        length, last = int(lengths[request]), windows[request, 0]
        newest = min(length, CLICKS)
        repeats, taken = 0, 0
        for place in range(newest):
            code = codes[request, place]
            if code in (CART, PURCHASE):
                taken += 1
            for newer in range(place):
                if keys[request, newer] == keys[request, place]:
                    repeats += 1
                    break
        dwell = np.nan
        if length > 1:
            dwell = math.log1p(max((ts_ms[request, 0] - ts_ms[request, 1]) / 1000.0, 0.0))
        last_age, last_recent = np.nan, np.nan
        if last >= 0:
            last_age = _age(now_ms[request], created_ms[last])
            trend_row, recent = row_of(slot_keys, slot_rows, item_keys[last]), np.float32(0)
            if trend_row >= 0:
                recent = cooled(recent_heat[trend_row], now_ms[request], recent_half_life_ms)
            last_recent = math.log1p(recent)
        window_length, cart_share = math.log1p(length), taken / max(newest, 1)
        last_code = float(codes[request, 0]) if length > 0 else np.nan
        for at in range(starts[request], starts[request + 1]):
            row, times, first = rows[at], 0, -1
            for place in range(min(CLICKS, windows.shape[1])):
                if windows[request, place] == row:
                    times += 1
                    if first < 0:
                        first = place
            out[0, at] = times
            out[1, at] = first if times else np.nan
            out[2, at] = _age(now_ms[request], created_ms[row])
            out[3, at], out[4, at] = window_length, newest - repeats
            out[5, at], out[6, at], out[7, at] = last_code, cart_share, dwell
            out[8, at], out[9, at] = last_age, last_recent


@inlined
def _age(now_ms: int, created_ms: int) -> float:
    """Return log(1 + age in hours)."""
    hours = (now_ms - created_ms) / 3_600_000.0
    return math.log1p(min(max(hours, 0.0), _OLDEST_HOURS))
