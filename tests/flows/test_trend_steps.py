"""What the trends flow counts, as plain functions: sessions into updates, updates into rows."""

from __future__ import annotations

import orjson
import pytest

from contracts.codec import EndedSession, ItemTrend, decode_ended, decode_trend
from contracts.events import EventCode
from contracts.ids import ItemKey, event_key, item_key
from contracts.items import ItemSeen
from eventlog.contract import Batch, Message, Topic
from flows.trend_steps import ItemTally, Seen, SessionRow, SessionTrace, TrendRow, Update, Watermark, decode_seen
from retrieval.ended_sessions import KEPT_CLICKS
from retrieval.trends import Came, TrendAccumulator, TrendRules

RULES = TrendRules()
GAP_MS = 1_800_000
T0 = 1_700_000_000_000
A, B, C = item_key("a"), item_key("b"), item_key("c")


def click(event: str, item: str, ts_ms: int = T0, code: EventCode = EventCode.VIEW) -> Seen:
    return Seen(event_key(event), ts_ms, (item_key(item),), item, code)


def shown(event: str, items: str, ts_ms: int = T0) -> Seen:
    return Seen(event_key(event), ts_ms, tuple(item_key(item) for item in items), None, EventCode.OTHER)


def take(trace: SessionTrace, *seen: Seen) -> list[tuple[ItemKey, Update]]:
    said = trace.take(seen, rules=RULES, idle_gap_ms=GAP_MS, now_ms=T0)
    return [one for one in said if not isinstance(one, EndedSession)]


def test_events_are_decoded_into_sessions_and_broken_ones_become_dead_letters() -> None:
    good = {"v": 1, "event_id": "e1", "type": "cart", "session_id": "s", "item_id": "a", "ts": T0}
    seen_twice = {"v": 1, "event_id": "e2", "type": "impression", "session_id": "s", "items": ["a", "b", "a"], "ts": T0}
    raw = [orjson.dumps(good), b"{", orjson.dumps(seen_twice)]
    batch = Batch(Topic.IMPRESSIONS, 2, 10, 13, [Message(10 + n, value) for n, value in enumerate(raw)])

    seen, rejected = decode_seen(batch, now_ms=T0, max_future_ms=0)

    assert seen == [
        ("s", Seen(event_key("e1"), T0, (A,), "a", EventCode.CART)),
        ("s", Seen(event_key("e2"), T0, (A, B), None, EventCode.OTHER)),
    ]
    assert [(letter.source, letter.reason) for letter in rejected] == [("impressions:2:11", "not_json")]


def test_a_click_counts_for_its_item_and_pairs_with_what_the_session_clicked_before() -> None:
    trace = SessionTrace()

    assert take(trace, click("1", "a")) == [(A, Update(T0, EventCode.VIEW, "a"))]
    assert take(trace, click("2", "b", T0 + 5, EventCode.CART)) == [
        (B, Update(T0 + 5, EventCode.CART, "b", before=((A, 1.0),), came=Came.ON)),
        (A, Update(T0 + 5, after=((B, 1.0),))),
    ]
    assert take(trace, click("3", "c", T0 + 9)) == [
        (C, Update(T0 + 9, EventCode.VIEW, "c", before=((B, 1.0), (A, 0.5)), came=Came.ON)),
        (B, Update(T0 + 9, after=((C, 1.0),))),
        (A, Update(T0 + 9, after=((C, 0.5),))),
    ]


def test_a_repeated_event_counts_once() -> None:
    trace = SessionTrace()
    take(trace, click("1", "a"))

    assert take(trace, click("1", "a"), click("1", "a")) == []


def test_after_the_idle_gap_nothing_pairs_with_what_was_before() -> None:
    trace = SessionTrace()
    take(trace, click("1", "a"))

    assert take(trace, click("2", "b", T0 + GAP_MS + 1)) == [(B, Update(T0 + GAP_MS + 1, EventCode.VIEW, "b"))]


def test_a_session_that_is_over_is_kept_with_what_it_clicked() -> None:
    trace = SessionTrace()
    take(trace, shown("i", "xyz", T0 - 5), click("1", "a"), click("2", "b", T0 + 1), click("3", "a", T0 + 2))

    [kept] = trace.ended()

    assert isinstance(kept, EndedSession)
    assert (kept.started_ms, kept.items.tolist()) == (T0, [A, B, A])
    row = SessionRow.of("s", kept, TrendRules(sessions=10))
    assert row.slot == 9
    assert decode_ended(row.row).items.tolist() == [A, B, A]


def test_every_click_says_how_it_came_about() -> None:
    trace = SessionTrace()
    clicks = [click(str(at), item, T0 + at) for at, item in enumerate("aabca")]

    came = [update.came for _, update in take(trace, *clicks) if update.code is not None]

    assert came == [Came.FIRST, Came.AGAIN, Came.ON, Came.ON, Came.BACK]


def test_impressions_do_not_prolong_a_session() -> None:
    trace, later = SessionTrace(), GAP_MS * 2 // 3
    take(trace, click("1", "a"), click("2", "b", T0 + 1), shown("i", "xyz", T0 + later))

    said = trace.take([click("3", "c", T0 + 2 * later)], rules=RULES, idle_gap_ms=GAP_MS, now_ms=T0)

    [kept] = [one for one in said if isinstance(one, EndedSession)]
    assert kept.items.tolist() == [A, B]
    assert [one for one in said if one is not kept] == [(C, Update(T0 + 2 * later, EventCode.VIEW, "c"))]


def test_a_click_after_the_idle_gap_keeps_the_session_before_it() -> None:
    trace = SessionTrace()
    take(trace, click("1", "a"), click("2", "b", T0 + 1))
    again = click("3", "c", T0 + 2 + GAP_MS)

    said = trace.take([again], rules=RULES, idle_gap_ms=GAP_MS, now_ms=T0)

    [kept] = [one for one in said if isinstance(one, EndedSession)]
    assert (kept.started_ms, kept.items.tolist()) == (T0, [A, B])
    assert (trace.started_ms, trace.trail) == (T0 + 2 + GAP_MS, [C])
    assert trace.ended() == []


def test_a_click_on_an_item_that_was_shown_is_a_clicked_impression() -> None:
    trace = SessionTrace()

    assert take(trace, shown("i", "ab")) == [(A, Update(T0, shown=True)), (B, Update(T0, shown=True))]
    assert take(trace, click("1", "b", T0 + 1)) == [(B, Update(T0 + 1, EventCode.VIEW, "b", shown_and_clicked=True))]
    ((_, again),) = take(trace, click("2", "b", T0 + 2))
    assert not again.shown_and_clicked


def test_an_impression_that_is_read_after_its_click_is_a_clicked_one_too() -> None:
    trace = SessionTrace()
    take(trace, click("1", "a", T0 + 10))

    assert take(trace, shown("i", "ab", T0 + 5)) == [
        (A, Update(T0 + 5, shown=True, shown_and_clicked=True)),
        (B, Update(T0 + 5, shown=True)),
    ]
    assert take(trace, shown("j", "a", T0 + 6)) == [(A, Update(T0 + 6, shown=True))]


def test_a_click_before_the_item_was_shown_is_no_clicked_impression() -> None:
    trace = SessionTrace()
    take(trace, click("1", "a", T0))

    assert take(trace, shown("i", "a", T0 + 5)) == [(A, Update(T0 + 5, shown=True))]


def test_a_trace_stays_small_however_long_the_session() -> None:
    trace = SessionTrace()
    for n in range(1000):
        take(trace, click(f"c{n}", f"item-{n}", T0 + n), shown(f"i{n}", f"{n % 10}xyz", T0 + n))

    assert len(trace.trail) == KEPT_CLICKS
    assert len(trace.clicked) == 50
    assert len(trace.shown) <= 300
    assert len(trace.events) == 100


@pytest.mark.parametrize(
    ("now_ms", "watermark_ms", "over"),
    [
        (T0 + 1000, T0 + GAP_MS, False),
        (T0 + 1000, T0 + GAP_MS + 1, True),
        (T0 + GAP_MS - 1, T0, False),
        (T0 + GAP_MS, T0, True),
    ],
)
def test_a_session_is_over_by_event_time_or_in_a_quiet_log_by_the_clock(
    now_ms: int, watermark_ms: int, over: bool
) -> None:
    trace = SessionTrace()
    take(trace, click("1", "a", T0))

    assert trace.is_over(idle_gap_ms=GAP_MS, now_ms=now_ms, watermark_ms=watermark_ms) is over


def tally(announced: bool = True) -> ItemTally:
    return ItemTally(TrendAccumulator(RULES), announced=announced)


def only_row(out: list[TrendRow | ItemSeen]) -> ItemTrend:
    (row,) = out
    assert isinstance(row, TrendRow)
    assert row.row is not None
    return decode_trend(row.row)


def test_the_first_update_is_written_at_once_and_the_next_after_the_interval() -> None:
    item = tally()

    first = only_row(item.take([Update(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000))
    assert (first.popularity, first.views, first.as_of_ms) == (1.0, 1.0, T0)
    assert item.take([Update(T0, EventCode.CART, "a")], now_ms=T0 + 10, emit_interval_ms=1000) == []
    assert item.wake_ms(T0 + 10, emit_interval_ms=1000) == T0 + 1000
    second = only_row(item.write(T0 + 1000))
    assert (second.popularity, second.views) == (2.0, 1.0)
    assert item.write(T0 + 1001) == []
    assert item.wake_ms(T0 + 1001, emit_interval_ms=1000) > T0 + 60_000


def test_a_row_holds_absolute_counts_and_the_neighbours() -> None:
    updates = [
        Update(T0, EventCode.VIEW, "a", before=((B, 0.5),), came=Came.BACK),
        Update(T0, shown=True),
        Update(T0, shown=True, shown_and_clicked=True),
        Update(T0, after=((C, 1.0),)),
    ]

    row = only_row(tally().take(updates, now_ms=T0, emit_interval_ms=0))

    assert (row.popularity, row.recent, row.impressions, row.clicks) == (1.0, 1.0, 2.0, 1.0)
    assert row.came == (0.0, 0.0, 0.0, 1.0)
    assert row.neighbours.tolist() == [C, B]
    assert row.weights.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.5, 0.25]]


def test_the_first_click_on_an_item_announces_it_once_where_that_is_wanted() -> None:
    item = tally(announced=False)

    out = item.take([Update(T0, after=((B, 1.0),)), Update(T0 + 3, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=0)
    assert out[0] == ItemSeen(item_id="a", ts=T0 + 3)
    assert [type(o) for o in item.take([Update(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=0)] == [TrendRow]


def test_an_item_is_forgotten_once_quiet_but_never_before_its_row_is_written() -> None:
    item = tally()
    item.take([Update(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000)
    assert not item.is_forgotten(forget_after_ms=100, now_ms=T0 + 99, watermark_ms=T0 + 100)
    assert item.is_forgotten(forget_after_ms=100, now_ms=T0 + 99, watermark_ms=T0 + 101)
    assert item.is_forgotten(forget_after_ms=100, now_ms=T0 + 100, watermark_ms=T0)

    item.take([Update(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000)
    assert not item.is_forgotten(forget_after_ms=100, now_ms=T0 + 5000, watermark_ms=T0 + 5000)


def test_a_saved_copy_does_not_move_with_the_state() -> None:
    trace, item = SessionTrace(), tally()
    take(trace, click("1", "a"))
    item.take([Update(T0, EventCode.VIEW, "a", after=((B, 1.0),))], now_ms=T0, emit_interval_ms=0)
    saved_trace, saved_item = trace.copy(), item.copy()

    take(trace, click("2", "b"), shown("3", "c"))
    item.take([Update(T0, EventCode.VIEW, "a", after=((C, 1.0),))], now_ms=T0, emit_interval_ms=0)

    assert (saved_trace.trail, list(saved_trace.clicked), saved_trace.shown) == ([A], [A], {})
    assert (saved_item.counts.popularity, saved_item.counts.pairs) == (1.0, {B: (1.0, 0.0, 1.0)})
    assert saved_item.counts.came == [1, 0, 0, 0]


def test_the_watermark_is_the_newest_time_seen() -> None:
    watermark = Watermark()
    for ts_ms in (5, 9, 7):
        watermark.observe(ts_ms)
    assert watermark.latest_ms == 9
