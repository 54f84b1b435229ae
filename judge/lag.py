"""How far figures are behind the log: where its ends were at earlier looks, and which of those are counted. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

Offsets = Mapping[str, int]
"""The next offset, by `topic:partition`."""
MOST: Final = 1000


class Lag:
    """Remembers the log's ends by when they were seen."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Offsets]] = deque(maxlen=MOST)

    def seen(self, at_ms: int, ends: Offsets) -> None:
        """Take where the log ended at a moment."""
        self._seen.append((at_ms, ends))

    def behind_s(self, now_ms: int, counted: Offsets) -> float | None:
        """Return for how many seconds figures may lack what was logged; None where no moment is known up to which they
        lack nothing.
        """
        whole = [at for at, (_, ends) in enumerate(self._seen) if all(counted.get(key, 0) >= ends[key] for key in ends)]
        for _ in range(whole[-1] if whole else 0):
            self._seen.popleft()
        return max(0.0, (now_ms - self._seen[0][0]) / 1000.0) if whole else None
