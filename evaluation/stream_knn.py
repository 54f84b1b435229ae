"""Session-kNN that learns click by click: recent sessions that share the visitor's last items vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_KEPT_ITEMS = 8


class StreamKnn:
    """VMIS-kNN's votes over a bounded memory: each item remembers the last `recent` sessions that clicked it, and each
    session its last 8 items. Both are rings, so a click costs O(1) and memory is bounded by items and `sessions`.
    """

    name = "session-kNN"

    def __init__(
        self, *, neighbours: int = 100, recent: int = 200, last_items: int = 4, sessions: int = 200_000
    ) -> None:
        self._neighbours, self._recent, self._last_items = neighbours, recent, last_items
        self._held = np.full((sessions, _KEPT_ITEMS), -1, np.int64)
        self._counts = np.zeros(sessions, np.int64)
        self._open: dict[str, int] = {}
        self._begun = 0
        self._places: dict[str, int] = {}
        self._items: list[str] = []
        self._holders: list[np.ndarray] = []
        self._clicks: list[int] = []

    def learn(self, session_id: str, item: str, ts_ms: int) -> None:
        """Take one click. Clicks come in time order."""
        slot = self._open.get(session_id)
        if slot is None:
            slot = self._begun % len(self._held)
            self._begun += 1
            self._open[session_id] = slot
            self._held[slot], self._counts[slot] = -1, 0
            if len(self._open) > len(self._held):
                del self._open[next(iter(self._open))]
        place = self._places.setdefault(item, len(self._items))
        if place == len(self._items):
            self._items.append(item)
            self._holders.append(np.full(self._recent, -1, np.int64))
            self._clicks.append(0)
        if place not in self._held[slot]:
            self._held[slot, self._counts[slot] % _KEPT_ITEMS] = place
            self._counts[slot] += 1
            self._holders[place][self._clicks[place] % self._recent] = slot
            self._clicks[place] += 1

    def predict(self, session_items: Sequence[str], ts_ms: int, k: int) -> list[str]:
        """Return up to k distinct items, best first. `session_items` are the session's clicks, oldest first."""
        used = list(dict.fromkeys(reversed(session_items)))[: self._last_items]
        places = [self._places[item] for item in used if item in self._places]
        if not places:
            return []
        sessions = np.concatenate([self._holders[place] for place in places])
        weights = np.repeat([1.0 - at / len(used) for at in range(len(places))], self._recent)
        distinct, where = np.unique(sessions, return_inverse=True)
        similarity = np.bincount(where, weights)
        if distinct[0] < 0:
            distinct, similarity = distinct[1:], similarity[1:]
        best = np.argsort(-similarity, kind="stable")[: self._neighbours]
        held = self._held[distinct[best]]  # (neighbours, 8)
        items, where = np.unique(held, return_inverse=True)
        scores = np.bincount(where.ravel(), np.repeat(similarity[best], _KEPT_ITEMS))
        order = np.argsort(-scores, kind="stable")
        return [self._items[place] for place in items[order].tolist() if place >= 0][:k]
