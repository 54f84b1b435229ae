"""A session in the trends flow: when it ends, by event time or in a quiet log by the clock, and when it is dropped."""

from __future__ import annotations

import pytest

from contracts.codec import EndedSession
from contracts.events import EventCode
from contracts.ids import event_key, item_key
from flows.trend_steps import Watermark
from flows.trends import FollowSession
from retrieval.open_sessions import OpenSession, TrendEvent
from retrieval.trends import TrendRules

GAP_MS = 1_800_000
T0 = 1_700_000_000_000
A, B = item_key("a"), item_key("b")


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now_ms = T0

    def __call__(self) -> int:
        return self.now_ms


def click(event: str, item: str, ts_ms: int) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, (item_key(item),), item, EventCode.VIEW)


def shown(event: str, ts_ms: int) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, (A, B), None, EventCode.OTHER)


def follow(clock: Clock, watermark: Watermark, session: OpenSession | None = None) -> FollowSession:
    return FollowSession(session or OpenSession(), TrendRules(), GAP_MS, watermark, clock)


def kept(outputs: object) -> list[list[int]]:
    return [one.items.tolist() for one in outputs if isinstance(one, EndedSession)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("now_ms", "watermark_ms", "over"),
    [
        (T0 + 1000, T0 + GAP_MS, False),
        (T0 + 1000, T0 + GAP_MS + 1, True),
        (T0 + GAP_MS - 1, T0, False),
        (T0 + GAP_MS, T0, True),
    ],
)
def test_a_session_ends_by_event_time_or_in_a_quiet_log_by_the_clock(
    now_ms: int, watermark_ms: int, over: bool
) -> None:
    clock, watermark = Clock(), Watermark()
    session = follow(clock, watermark)
    session.on_batch([click("1", "a", T0 - 1), click("2", "b", T0)])
    clock.now_ms = now_ms
    watermark.observe(watermark_ms)

    outputs, dropped = session.on_notify()

    assert (kept(outputs), dropped) == ([[A, B]] if over else [], over)


def test_impressions_hold_back_neither_the_end_of_a_session_nor_the_next_look_at_it() -> None:
    clock, watermark = Clock(), Watermark()
    session = follow(clock, watermark)
    session.on_batch([click("1", "a", T0 - 1), click("2", "b", T0)])
    look = session.notify_at()
    clock.now_ms += 30_000
    session.on_batch([shown("3", T0 + GAP_MS + 1)])
    watermark.observe(T0 + GAP_MS + 1)

    assert session.notify_at() == look
    outputs, dropped = session.on_notify()
    assert (kept(outputs), dropped) == ([[A, B]], False)  # what was shown may still be clicked
    watermark.observe(T0 + 2 * GAP_MS + 2)
    assert session.on_notify() == ([], True)


def test_a_recovered_session_is_waited_for_a_whole_gap() -> None:
    clock, watermark = Clock(), Watermark()
    session = follow(clock, watermark)
    session.on_batch([click("1", "a", T0 - 1), click("2", "b", T0)])
    clock.now_ms += 100 * GAP_MS
    recovered = follow(clock, watermark, session.snapshot())
    clock.now_ms += GAP_MS - 1

    assert recovered.on_notify() == ([], False)
    clock.now_ms += 1
    assert kept(recovered.on_notify()[0]) == [[A, B]]
