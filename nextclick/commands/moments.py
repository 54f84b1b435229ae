"""Moments and spans of time as they are typed on the command line, and as tables show them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from contracts.errors import NextclickError

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN = re.compile(r"(\d{1,9})([smhd])")


def span_ms(option: str, text: str) -> int:
    """Return how long a span such as `90s`, `30m`, `24h` or `7d` is. Raises NextclickError for anything else."""
    if span := _SPAN.fullmatch(text):
        return int(span[1]) * _UNITS_MS[span[2]]
    raise NextclickError(f"{option}: expected how long (90s, 30m, 24h, 7d), got {text!r}")


def time_of(option: str, text: str | None, now_ms: int) -> int | None:
    """Return a moment in epoch milliseconds: so long ago (`2h`), or an ISO 8601 time, UTC unless it says otherwise.

    Raises NextclickError for anything else.
    """
    if text is None:
        return None
    if ago := _SPAN.fullmatch(text):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        detail = f"{option}: expected so long ago (90s, 30m, 2h, 7d) or a time such as 2026-01-31T12:00, got {text!r}"
        raise NextclickError(detail) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def shown(ms: int) -> str:
    """Return a moment of epoch milliseconds as tables show it, in UTC."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
