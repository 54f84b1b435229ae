"""How long work waits for more of its kind where it costs about the same for one as for many. Pure.

Times are seconds of one monotonic clock, and arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ENOUGH = 16
"""So many share a cost: more hardly make each of them cheaper."""

REMEMBERED_S = 0.1
"""What came within about so long is the rate."""

_COMPANY = 2.0


def pause_s(rate: float, longest_s: float) -> float:
    """Return how long to wait where `rate` come a second: until enough have come, `longest_s` at most, and not at all
    where even that would not bring two together."""
    if rate * longest_s < _COMPANY:
        return 0.0
    return min(longest_s, ENOUGH / rate)


@dataclass(slots=True)
class Gathering:
    """The rate at which work comes, and since when the next round of it has waited. Changes in place."""

    longest_s: float
    _heard_at: float = -math.inf
    _recent: float = 0.0

    def came(self, count: int, now_s: float) -> None:
        """Hear that `count` more came."""
        self._recent, self._heard_at = self._left(now_s) + count, now_s

    def pause_s(self, now_s: float) -> float:
        """Return how long a round that begins now should last before what came meanwhile is worth another."""
        return pause_s(self._left(now_s) / REMEMBERED_S, self.longest_s)

    def _left(self, now_s: float) -> float:
        """Return how many of those that came still count: each e-fold less every REMEMBERED_S."""
        return self._recent * math.exp((self._heard_at - now_s) / REMEMBERED_S)
