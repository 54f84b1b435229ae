"""When a call that failed is made again. Pure: the moment and the chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 531)})
"""Answers after which the same call may be taken: too much, too slow, a fault, or (from 520) no gateway behind a
content network."""


@dataclass(frozen=True)
class Retry:
    """How often, and how long. `attempts` counts the first. The pause after an attempt is half of `first_s`, doubled
    each time up to `longest_s`, and up to the other half by chance. What the server asks for in `Retry-After` is
    waited, if it is not beyond `patience_s`: beyond that the call fails at once, and says so.
    """

    attempts: int = 4
    first_s: float = 0.2
    longest_s: float = 5.0
    patience_s: float = 30.0

    def pause_s(self, attempt: int, roll: float, retry_after_s: float | None = None) -> float | None:
        """Return the seconds to wait after the `attempt`-th attempt (from 1); None: it was the last. `roll` is a random
        number in [0, 1).
        """
        if attempt >= self.attempts:
            return None
        allowed = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 60))
        pause = allowed * (0.5 + 0.5 * roll)
        if retry_after_s is None:
            return pause
        return None if retry_after_s > self.patience_s else max(pause, retry_after_s)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for, given as seconds or as a date; None for neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
