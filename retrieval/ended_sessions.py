"""Sessions that are over, and what is kept of them: the pure core that the trends flow and training share.

A session takes the slot that its name and beginning hash to, of a fixed number of slots; whoever held it before is
forgotten. So what is kept is bounded without anything having to be deleted, whichever worker writes it, and writing a
session twice changes nothing. Of n slots, a session that a newer ones followed is still there with probability
exp(-a / n).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
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


def ended_session(started_ms: int, clicks: Sequence[ItemKey]) -> EndedSession | None:
    """Return what is kept of a session of these kept clicks; None for one that says nothing of what goes together."""
    return EndedSession(started_ms, np.array(clicks, np.uint64)) if len(clicks) > 1 else None


def keep_last(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """Put a key last; the one put longest ago goes when there are more than `most`."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


@dataclass(slots=True)
class _Trail:
    started_ms: int
    last_ms: int
    clicks: list[ItemKey] = field(default_factory=list)


class Trails:
    """The sessions that are going on, by id. Mutable."""

    def __init__(self, slots: int, idle_gap_ms: int) -> None:
        self._slots, self._idle_gap_ms = slots, idle_gap_ms
        self._open: dict[str, _Trail] = {}
        self._due: list[tuple[int, str]] = []
        """A heap of when sessions were clicked last, by what was read then."""
        self._over: list[tuple[Slot, EndedSession]] = []

    def click(self, session_id: str, item: ItemKey, ts_ms: int) -> list[ItemKey]:
        """Take a click, and return the kept clicks before it. One that comes later than the idle gap after the last one
        begins the session afresh.
        """
        trail = self._open.pop(session_id, None)
        if trail is not None and ts_ms > trail.last_ms + self._idle_gap_ms:
            self._end(session_id, trail)
            trail = None
        if trail is None:
            trail = _Trail(ts_ms, ts_ms)
        trail.last_ms = max(trail.last_ms, ts_ms)
        before = list(trail.clicks)
        keep_click(trail.clicks, item)
        self._open[session_id] = trail
        heappush(self._due, (trail.last_ms, session_id))
        return before

    def close(self, watermark_ms: int) -> None:
        """Let go of all but what is kept of sessions that are over at `watermark_ms`, the newest event time read."""
        while self._due and watermark_ms > self._due[0][0] + self._idle_gap_ms:
            last_ms, session_id = heappop(self._due)
            trail = self._open.get(session_id)
            if trail is not None and trail.last_ms == last_ms:
                del self._open[session_id]
                self._end(session_id, trail)

    def ended(self, watermark_ms: int) -> Iterator[tuple[Slot, EndedSession]]:
        """Yield, once each, the sessions that are over when `watermark_ms` is the newest event time read."""
        self.close(watermark_ms)
        yield from self._over
        self._over.clear()

    def _end(self, session_id: str, trail: _Trail) -> None:
        kept = ended_session(trail.started_ms, trail.clicks)
        if kept is not None:
            self._over.append((slot_of(session_id, trail.started_ms, self._slots), kept))
