"""Small recorded traffic: shoppers who mostly walk from an item to the next one of its category."""

from __future__ import annotations

import numpy as np

from contracts.events import Event
from tests.rerank.shop import CATEGORIES

START = 1_700_000_000_000


def event(number: int, session_id: str, item_id: str, ts: int, **fields: object) -> Event:
    return Event.model_validate(
        {
            "v": 1,
            "event_id": f"e{number}",
            "type": "view",
            "session_id": session_id,
            "item_id": item_id,
            "ts": ts,
            **fields,
        }
    )


def traffic(sessions: int, seed: int = 3, items: int = 12) -> list[Event]:
    """Sessions of two to five clicks, one beginning every minute, in time order."""
    random = np.random.default_rng(seed)
    clicks: list[tuple[int, str, str]] = []
    for visitor in range(sessions):
        category, at = random.choice(CATEGORIES), int(random.integers(items))
        for step in range(int(random.integers(2, 6))):
            clicks.append((START + 60_000 * visitor + 20_000 * step, f"s{visitor}", f"{category}-{at}"))
            at = (at + 1) % items if random.random() < 0.8 else int(random.integers(items))
    clicks.sort()
    return [event(number, session, item, ts) for number, (ts, session, item) in enumerate(clicks)]
