"""What the trends flow saves of a partition's open sessions: read whole, or begun afresh; and events fold into it."""

from __future__ import annotations

from contracts.plain_events import PlainEvent, decode_event
from flows.trend_steps import PartitionSessions
from retrieval.open_sessions import TrendEvent
from retrieval.trends import TrendRules
from tests.fuzz.target import Target, dumped
from tests.fuzz.targets import events

NOW = events.NOW


def _event(raw: bytes) -> tuple[str, TrendEvent]:
    found = decode_event(raw, now_ms=NOW)
    assert isinstance(found, PlainEvent)
    return found.session_id, TrendEvent.of(found)


TAKEN = [_event(dumped(events.CLICK)), _event(dumped(events.SHOWN)), _event(dumped({**events.CLICK, "event_id": "e9"}))]


def of(saved: bytes | None) -> PartitionSessions:
    return PartitionSessions(TrendRules(), 1_800_000, now_ms=NOW, saved=saved, leave_out=lambda *_: None)


def check(raw: bytes) -> None:
    sessions = of(raw)
    sessions.take(TAKEN, NOW)
    sessions.close(NOW + 10**9)
    sessions.followed()
    assert len(of(sessions.saved())) == len(sessions)


def _valid() -> bytes:
    made = of(None)
    made.take(TAKEN, NOW)
    return made.saved()


TARGET = Target(
    check, {"two": _valid(), "none": of(None).saved()}, code=("flows.trend_steps", "retrieval.open_sessions")
)
