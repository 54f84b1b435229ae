"""Seasons of the year, by the clock: one reckoning for the value term and for `clock.season`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

SEASONS: Final = ("winter", "spring", "summer", "autumn")


def season_at(now_ms: int) -> str:
    """Return the season of a moment on the northern half: December, January and February are winter."""
    return SEASONS[datetime.fromtimestamp(now_ms / 1000, UTC).month % 12 // 3]
