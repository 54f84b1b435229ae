"""A visitor's session as every process sees it: the window of clicks, and the encoder's state after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLICK = np.dtype([("ts_ms", "<i8"), ("item", "<u8"), ("event", "<u8"), ("code", "u1")])
"""One click of a window: epoch ms, ItemKey, EventKey, EventCode. 25 bytes."""

Clicks = NDArray[Any]
"""Structured array of CLICK, shape (n,), ordered by (ts_ms, event)."""

NO_CLICKS: Clicks = np.empty(0, CLICK)


@dataclass(frozen=True, slots=True)
class Session:
    """One session. Frozen: folding a click in returns a new one.

    `window` holds the last clicks, oldest first. `events` counts every click applied since the session
    began, also those that the window has since let go. `embedding` is the encoder's state, float32,
    shape (width,), empty before the first encoding; it belongs to `model_version`. `incomplete` says that the
    embedding lacks a click whose item had no vector yet: encode again from the window. `last_offset` is
    the log offset of the newest click applied, in the session's partition; -1 for one that came with a request.
    """

    session_id: str
    user_id: str | None
    started_ms: int
    last_ms: int
    events: int
    last_offset: int
    window: Clicks
    embedding: NDArray[np.float32]
    model_version: int
    incomplete: bool = False
