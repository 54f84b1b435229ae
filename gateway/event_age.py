"""How old a click may be when it comes: what is older belongs to a session that has closed, whichever that was.

The sessions flow calls a click late that is older than the idle gap behind its partition's newest click. Whether that
holds of an old click is luck: what else its partition has. So the door decides, by its own clock, for all alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from contracts.events import MAX_FUTURE_MS, Rejection
from contracts.plain_events import PlainEvent
from gateway.settings import GatewaySettings

TOO_OLD = "too_old"


def longest_age_ms(settings: GatewaySettings) -> int:
    """Return how old a click may be, in milliseconds: by setting, or so that it cannot be late. That is the idle gap
    less what a clock may be ahead, as that of a partition's newest click may; of a short gap, half of it.
    """
    if settings.gateway.max_age is not None:
        return int(settings.gateway.max_age.total_seconds() * 1000)
    gap_ms = settings.session.idle_gap_ms
    return max(gap_ms // 2, gap_ms - MAX_FUTURE_MS)


def any_too_old(events: Iterable[tuple[PlainEvent, bytes]], oldest_ms: int) -> bool:
    """Tell whether a body has to be looked at event by event."""
    return any(event.ts < oldest_ms for event, _ in events)


def too_old(event: PlainEvent, now_ms: int, oldest_ms: int) -> Rejection | None:
    """Return why a click is refused, None when it is not. An impression counts whenever it comes."""
    if event.ts >= oldest_ms or event.is_impression:
        return None
    behind_s, limit_s = (now_ms - event.ts) // 1000, (now_ms - oldest_ms) // 1000
    detail = (
        f"ts is {behind_s:,} s behind the server's clock, the limit is {limit_s:,} s: its session has closed. History "
        "is imported and trained on, or sent to a deployment that has no newer clicks, with NEXTCLICK_GATEWAY__MAX_AGE"
    )
    return Rejection(TOO_OLD, detail)
