"""How much a process is asked for: told to whoever loads a catalogue, who goes slower where it is much."""

from __future__ import annotations

from collections import deque
from typing import Final

from aiohttp import web

HEADER: Final = "Nextclick-Asked-Per-Second"
WINDOW_S: Final = 5.0
_STEP_S: Final = 0.5


class Asked:
    """The rate of what is counted elsewhere: it costs something when it is asked, and nothing else."""

    def __init__(self, now_s: float) -> None:
        self._seen = deque([(now_s, 0)])

    def per_s(self, now_s: float, count: int) -> float:
        """Return the rate since five seconds ago, or since it was asked last where that is longer ago. `count` only
        grows.
        """
        seen = self._seen
        while len(seen) > 1 and seen[1][0] <= now_s - WINDOW_S:
            seen.popleft()
        since_s, before = seen[0]
        if now_s - seen[-1][0] >= _STEP_S:
            seen.append((now_s, count))
        return (count - before) / max(now_s - since_s, _STEP_S)


ASKED: Final = web.AppKey("asked", Asked)
