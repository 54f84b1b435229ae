"""Records of the log as the flows read them: whatever is in one, it is taken or becomes a dead letter."""

from __future__ import annotations

from contracts.events import Rejection
from eventlog.contract import Batch, Message, Topic
from flows.item_steps import decode_changes
from flows.session_steps import decode_batch
from flows.trend_steps import PartitionSessions, decode_events
from retrieval.trends import TrendRules
from tests.fuzz.target import Target, dumped
from tests.fuzz.targets import changes, events


def check(raw: bytes) -> None:
    batch = Batch(Topic.CLICKS, 0, 7, 8, [Message(7, raw)])
    clicks = decode_batch(batch, now_ms=events.NOW, max_future_ms=300_000)
    assert len(clicks.clicks) + len(clicks.rejected) + clicks.impressions == 1
    found = decode_changes(batch, now_ms=events.NOW)
    assert len(found.changes) + len(found.rejected) == 1
    taken, rejected = decode_events(batch, now_ms=events.NOW, max_future_ms=300_000)
    assert len(taken) + len(rejected) == 1
    for letter in (*clicks.rejected, *found.rejected, *rejected):
        assert (letter.raw, letter.source) == (raw, "clicks:0:7")
        str(Rejection(letter.reason, letter.detail)).encode()
    sessions = PartitionSessions(TrendRules(), 1_800_000, now_ms=events.NOW, leave_out=_never)
    sessions.take(taken, events.NOW)
    sessions.close(events.NOW + 10**8)
    sessions.followed()
    again = PartitionSessions(TrendRules(), 1_800_000, now_ms=events.NOW, saved=sessions.saved(), leave_out=_never)
    assert again.saved() == sessions.saved()


def _never(_: object, error: Exception) -> None:
    raise error


TARGET = Target(
    check,
    {"click": dumped(events.CLICK), "shown": dumped(events.SHOWN), **changes.VALID},
    code=(
        "contracts.plain_events",
        "contracts.items",
        "flows.session_steps",
        "flows.trend_steps",
        "retrieval.open_sessions",
    ),
    words=events.TARGET.words,
)
