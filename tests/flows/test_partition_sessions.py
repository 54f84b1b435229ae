"""A partition's sessions in the trends flow: when they end, by event time or in a quiet log by the clock, and that they
are held again as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from bytewax.operators import StatefulBatchLogic
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.codec import decode_ended
from contracts.events import EventCode
from contracts.hashed_names import hashed
from contracts.ids import event_key, item_key
from eventlog.contract import Batch, Message, Topic
from flows.trend_steps import Events, EventTime, Followed, PartitionSessions
from flows.trends import FollowPartition
from retrieval.open_sessions import TrendEvent, raise_again
from retrieval.trends import TrendRules
from rights.erasure import ErasedNames

GAP_MS = 1_800_000
T0 = 1_700_000_000_000
LATER = T0 + 3 * GAP_MS
A, B = item_key("a"), item_key("b")


def click(event: str, item: str, ts_ms: int) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, (item_key(item),), item, EventCode.VIEW)


def shown(event: str, ts_ms: int) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, (A, B), None, EventCode.OTHER)


def sessions(now_ms: int = T0, saved: bytes | None = None) -> PartitionSessions:
    return PartitionSessions(TrendRules(), GAP_MS, now_ms=now_ms, saved=saved, leave_out=raise_again)


def nothing_is_left(held: PartitionSessions) -> None:
    for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
        held.caught_up(topic)


def kept(held: PartitionSessions) -> list[list[int]]:
    followed = held.followed()
    return [decode_ended(row).items.tolist() for row in followed.ended.rows.values()] if followed is not None else []


@pytest.mark.parametrize(
    ("event_ms", "quiet_ms", "over"),
    [
        (T0 + GAP_MS - 1000, 1000, False),
        (T0 + GAP_MS + 1, 0, True),
        (T0, GAP_MS, False),
        (T0, GAP_MS + 1, True),
    ],
)
def test_a_session_ends_by_event_time_which_goes_on_with_the_clock_in_a_quiet_log(
    event_ms: int, quiet_ms: int, over: bool
) -> None:
    held = sessions()
    held.take([("s", click("1", "a", T0 - 1)), ("s", click("2", "b", T0))], T0)
    held.take([("t", click("3", "a", event_ms))], event_ms)
    assert kept(held) == []

    nothing_is_left(held)
    held.close(event_ms + quiet_ms)

    assert kept(held) == ([[A, B]] if over else [])


def test_a_clock_that_is_ahead_ends_nobody_elses_session() -> None:
    held = sessions()
    held.take(
        [("s", click("1", "a", T0 - 1)), ("s", click("2", "b", T0)), ("ahead", click("3", "a", T0 + 9 * GAP_MS))], T0
    )

    nothing_is_left(held)
    held.close(T0 + GAP_MS)
    assert kept(held) == []
    held.close(T0 + GAP_MS + 1)
    assert kept(held) == [[A, B]]


def test_impressions_hold_back_no_end_and_what_was_shown_may_still_be_clicked() -> None:
    held, now_ms = sessions(), T0 + GAP_MS + 1
    held.take([("s", click("1", "a", T0 - 1)), ("s", click("2", "b", T0)), ("s", shown("3", now_ms))], now_ms)

    nothing_is_left(held)
    held.close(now_ms)
    assert (kept(held), len(held)) == ([[A, B]], 1)
    held.close(now_ms + GAP_MS + 1)
    assert (kept(held), len(held)) == ([], 0)


@pytest.mark.parametrize("saved", [False, True], ids=["running", "recovered"])
@pytest.mark.parametrize("ahead", ["impressions", "clicks"])
def test_what_is_read_ahead_in_a_backlog_parts_no_session(ahead: str, saved: bool) -> None:
    held, now_ms = sessions(), T0 + 9 * GAP_MS
    held.take([("s", click("1", "a", T0)), ("t", shown("2", T0))], now_ms)
    if saved:
        held = sessions(now_ms, held.saved())
    further_ms = T0 + 3 * GAP_MS
    held.take([("u", shown("3", further_ms) if ahead == "impressions" else click("3", "b", further_ms))], now_ms)
    held.close(now_ms + 9 * GAP_MS)
    assert kept(held) == []

    held.take([("s", click("4", "b", T0 + GAP_MS)), ("t", shown("5", further_ms))], now_ms)
    held.take([("s", click("6", "a", further_ms))], now_ms)
    held.close(now_ms)
    assert kept(held) == [[A, B]]


@pytest.mark.parametrize("quiet", [Topic.CLICKS, Topic.IMPRESSIONS])
def test_a_topic_of_which_nothing_is_left_holds_no_session_open(quiet: Topic) -> None:
    held, now_ms = sessions(), T0 + 9 * GAP_MS
    held.take([("s", click("1", "a", T0)), ("s", click("2", "b", T0)), ("t", shown("3", T0))], now_ms)
    later_ms = T0 + GAP_MS + 1
    held.take([("u", shown("4", later_ms) if quiet is Topic.CLICKS else click("4", "a", later_ms))], now_ms)
    held.close(now_ms)
    assert kept(held) == []

    held.caught_up(quiet)
    held.close(now_ms)
    assert kept(held) == [[A, B]]


def test_recovered_sessions_are_waited_for_a_whole_gap() -> None:
    held = sessions()
    held.take([("s", click("1", "a", T0 - 1)), ("s", click("2", "b", T0))], T0)
    later_ms = T0 + 100 * GAP_MS
    recovered = sessions(later_ms, held.saved())

    nothing_is_left(recovered)
    recovered.close(later_ms + GAP_MS)
    assert (kept(recovered), len(recovered)) == ([], 1)
    recovered.close(later_ms + GAP_MS + 1)
    assert (kept(recovered), len(recovered)) == ([[A, B]], 0)


@pytest.mark.parametrize("change", [lambda raw: raw[:-3], lambda raw: b"\xc1" + raw, lambda raw: b"\x81\xa1s\x05"])
def test_saved_sessions_that_cannot_be_read_begin_afresh(
    change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    held = sessions()
    held.take([("s", click("1", "a", T0))], T0)
    recovered = sessions(T0, change(held.saved()))

    assert len(recovered) == 0
    assert "open sessions" in caplog.text
    recovered.take([("s", click("1", "a", T0))], T0)
    assert len(recovered) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from("stu"), st.sampled_from("abc"), st.booleans(), st.integers(T0, T0 + 3 * GAP_MS), st.booleans()
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 40))
@settings(deadline=None)
def test_saved_sessions_go_on_as_if_nothing_had_happened(
    steps: list[tuple[str, str, bool, int, bool]], saved_at: int
) -> None:
    events: Events = []
    for at, (session, item, is_click, ts_ms, again) in enumerate(steps):
        one = click(str(at), item, ts_ms) if is_click else shown(str(at), ts_ms)
        events += [(session, one)] * (1 + again)
    held = sessions(LATER)
    held.take(events[:saved_at], LATER)
    held.followed()
    recovered = sessions(LATER, held.saved())

    assert told(held, events[saved_at:]) == told(recovered, events[saved_at:])
    assert len(held) == len(recovered)


def told(held: PartitionSessions, events: Events) -> object:
    held.take(events, LATER)
    nothing_is_left(held)
    held.close(LATER + GAP_MS // 2)
    followed = held.followed()
    if followed is None:
        return None
    return (followed.clicks, followed.showings, sorted(followed.ended.rows.items()))


def test_a_partition_without_sessions_is_let_go() -> None:
    clock = [T0]
    read: Sequence[Events] = [[("s", click("1", "a", T0)), ("s", click("2", "b", T0))]]
    messages = [Message(0, b""), Message(1, b"")]
    step: StatefulBatchLogic[Batch, Followed, bytes] = FollowPartition(
        sessions(), lambda batch: read[batch.start], EventTime(0, T0), lambda: clock[0]
    )
    [followed], dropped = step.on_batch([Batch(Topic.CLICKS, 0, 0, 2, messages)])
    assert (len(followed.clicks), dropped) == (2, False)
    assert step.on_notify() == ([], False)
    for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
        assert step.on_batch([Batch(topic, 0, 2, 2, [])]) == ([], False)
    clock[0] += GAP_MS + 1
    [followed], dropped = step.on_notify()
    assert ([decode_ended(row).items.tolist() for row in followed.ended.rows.values()], dropped) == ([[A, B]], True)


def test_open_sessions_of_who_was_erased_are_let_go_of_once_and_those_that_begin_later_are_kept() -> None:
    erased = ErasedNames(b"s", sessions={hashed(b"s", "session", "gone"): T0 + 10, hashed(b"s", "session", "back"): T0})
    held = sessions()
    for name, at_ms in (("gone", T0), ("back", T0 + 5), ("other", T0)):
        held.take([(name, click(f"{name}-1", "a", at_ms)), (name, click(f"{name}-2", "b", at_ms + 1))], T0)
    flow = FollowPartition(held, lambda batch: [], EventTime(T0, T0), lambda: T0, erased=lambda: erased)
    flow.on_batch([])
    held.take([("gone", click("gone-3", "a", T0 + 20)), ("gone", click("gone-4", "b", T0 + 21))], T0)
    flow.on_batch([])
    nothing_is_left(held)
    held.close(LATER)
    assert kept(held) == [[A, B]] * 3
