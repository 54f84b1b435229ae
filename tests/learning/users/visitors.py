"""Small logs of visitors who come on several days."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from contracts.events import Event
from evaluation.splits import DAY_MS
from session_model.encoder import SessionEncoder

GAP_MS = 1_800_000
BEGUN_MS = 1_767_571_200_000


def event(
    number: int, session: str, user: str | None, item: str, at_ms: int, *, kind: str = "view", begun_ms: int = BEGUN_MS
) -> Event:
    return Event(
        v=1, event_id=f"e{number}", type=kind, session_id=session, user_id=user, item_id=item, ts=begun_ms + at_ms
    )


def visits_of(*rows: tuple[str, str | None, str, float]) -> list[Event]:
    """Events of (session, user, items without spaces, day of the first click); clicks are a minute apart."""
    clicks = [
        (int(day * DAY_MS) + at * 60_000, session, user, item)
        for session, user, items, day in rows
        for at, item in enumerate(items)
    ]
    return [event(number, *rest, at_ms) for number, (at_ms, *rest) in enumerate(sorted(clicks, key=lambda one: one[0]))]  # type: ignore[arg-type]


def encoder(dim: int) -> SessionEncoder:
    """One whose state moves halfway to each item clicked."""
    return SessionEncoder(
        weight=np.zeros((dim, dim), np.float32),
        bias=np.zeros(dim, np.float32),
        shift=np.zeros((4, dim), np.float32),
        version=7,
    )


class OneHot:
    """A tower that gives item a the first axis, b the second, and so on; others are unknown to it."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def embed(self, item_ids: Iterable[str], items: object) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        places = [ord(item_id) - ord("a") for item_id in item_ids]
        known = np.array([0 <= place < self.dim for place in places])
        vectors = np.zeros((len(places), self.dim), np.float32)
        vectors[np.flatnonzero(known), [place for place in places if 0 <= place < self.dim]] = 1.0
        return vectors, known
