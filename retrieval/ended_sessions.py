"""Ended sessions, and what is kept of each: its last clicks, in a slot of its own.

A session takes the slot that its name and beginning hash to, of a fixed number of slots; whoever held it before is
forgotten. So what is kept is bounded without anything having to be deleted, whichever worker writes it, and writing a
session twice changes nothing. Of n slots, a session that a newer ones followed is still there with probability
exp(-a / n).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NewType, TypeVar

import numpy as np
import xxhash

from contracts.codec import EndedSession
from contracts.ids import ItemKey

K = TypeVar("K")
V = TypeVar("V")

Slot = NewType("Slot", int)
"""Where an ended session is kept: the key of its table row."""

KEPT_CLICKS: Final = 20
"""Clicks kept of a session, the last ones."""


def slot_of(session_id: str, started_ms: int, slots: int) -> Slot:
    """Return the slot, below `slots`, of a session that began at `started_ms`."""
    return Slot(xxhash.xxh3_64_intdigest(f"{started_ms}:{session_id}".encode()) % slots)


def keep_click(kept: list[ItemKey], item: ItemKey) -> None:
    """Put a click last. One on the item clicked just before is none: it was looked at once more, not returned to."""
    if not kept or kept[-1] != item:
        kept.append(item)
        del kept[:-KEPT_CLICKS]


def ended_session(started_ms: int, clicks: Sequence[ItemKey], taken: Collection[ItemKey] = ()) -> EndedSession | None:
    """Return what is kept of a session of these kept clicks; None for one that says nothing of what goes together.
    `taken` are the items that it put in the cart or bought.
    """
    if len(clicks) < 2:
        return None
    bits = sum(1 << at for at, item in enumerate(clicks) if item in taken) if taken else 0
    return EndedSession(started_ms, np.array(clicks, np.uint64), bits)


def keep_last(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """Put a key last; the one put longest ago goes when there are more than `most`."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
