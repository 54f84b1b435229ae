"""What the trends flow does around the counting core, as plain functions: bytes into events, updates into rows."""

from __future__ import annotations

from dataclasses import make_dataclass

import numpy as np
import orjson

from contracts.codec import EndedSession, ItemTrend, decode_ended, decode_trend
from contracts.events import EventCode
from contracts.ids import event_key, item_key
from contracts.items import ItemSeen
from eventlog.contract import Batch, Message, Topic
from flows.trend_recovery import state_version
from flows.trend_steps import ItemTally, SessionRow, TrendRow, Watermark, decode_events
from retrieval.open_sessions import TrendEvent
from retrieval.trends import ClickOrigin, ItemUpdate, TrendAccumulator, TrendRules

RULES = TrendRules()
T0 = 1_700_000_000_000
A, B, C = item_key("a"), item_key("b"), item_key("c")


def test_events_are_decoded_into_sessions_and_broken_ones_become_dead_letters() -> None:
    good = {"v": 1, "event_id": "e1", "type": "cart", "session_id": "s", "item_id": "a", "ts": T0}
    seen_twice = {"v": 1, "event_id": "e2", "type": "impression", "session_id": "s", "items": ["a", "b", "a"], "ts": T0}
    raw = [orjson.dumps(good), b"{", orjson.dumps(seen_twice)]
    batch = Batch(Topic.IMPRESSIONS, 2, 10, 13, [Message(10 + n, value) for n, value in enumerate(raw)])

    events, rejected = decode_events(batch, now_ms=T0, max_future_ms=0)

    assert events == [
        ("s", TrendEvent(event_key("e1"), T0, (A,), "a", EventCode.CART)),
        ("s", TrendEvent(event_key("e2"), T0, (A, B), None, EventCode.OTHER)),
    ]
    assert [(letter.source, letter.reason) for letter in rejected] == [("impressions:2:11", "not_json")]


def test_an_ended_session_becomes_a_row_in_its_slot() -> None:
    row = SessionRow.of("s", EndedSession(T0, np.array([A, B, A], np.uint64)), TrendRules(sessions=10))

    assert row.slot == 9
    assert decode_ended(row.row).items.tolist() == [A, B, A]


def tally(announced: bool = True) -> ItemTally:
    return ItemTally(TrendAccumulator(RULES), announced=announced)


def only_row(out: list[TrendRow | ItemSeen]) -> ItemTrend:
    (row,) = out
    assert isinstance(row, TrendRow)
    assert row.row is not None
    return decode_trend(row.row)


def test_the_first_update_is_written_at_once_and_the_next_after_the_interval() -> None:
    item = tally()

    first = only_row(item.take([ItemUpdate(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000))
    assert (first.popularity, first.views, first.as_of_ms) == (1.0, 1.0, T0)
    assert item.take([ItemUpdate(T0, EventCode.CART, "a")], now_ms=T0 + 10, emit_interval_ms=1000) == []
    assert item.wake_ms(T0 + 10, emit_interval_ms=1000) == T0 + 1000
    second = only_row(item.write(T0 + 1000))
    assert (second.popularity, second.views) == (2.0, 1.0)
    assert item.write(T0 + 1001) == []
    assert item.wake_ms(T0 + 1001, emit_interval_ms=1000) > T0 + 60_000


def test_a_row_holds_absolute_counts_and_the_neighbours() -> None:
    updates = [
        ItemUpdate(T0, EventCode.VIEW, "a", before=((B, 0.5),), origin=ClickOrigin.RETURN),
        ItemUpdate(T0, after=((C, 1.0),)),
    ]

    row = only_row(tally().take(updates, now_ms=T0, emit_interval_ms=0))

    assert (row.popularity, row.recent) == (1.0, 1.0)
    assert row.origin_counts == (0.0, 0.0, 0.0, 1.0)
    assert row.neighbours.tolist() == [C, B]
    assert row.weights.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.5, 0.25]]


def test_the_first_click_on_an_item_announces_it_once_where_that_is_wanted() -> None:
    item = tally(announced=False)

    out = item.take(
        [ItemUpdate(T0, after=((B, 1.0),)), ItemUpdate(T0 + 3, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=0
    )
    assert out[0] == ItemSeen(item_id="a", ts=T0 + 3)
    assert [type(o) for o in item.take([ItemUpdate(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=0)] == [
        TrendRow
    ]


def test_an_item_is_forgotten_once_quiet_but_never_before_its_row_is_written() -> None:
    item = tally()
    item.take([ItemUpdate(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000)
    assert not item.is_forgotten(forget_after_ms=100, now_ms=T0 + 99, watermark_ms=T0 + 100)
    assert item.is_forgotten(forget_after_ms=100, now_ms=T0 + 99, watermark_ms=T0 + 101)
    assert item.is_forgotten(forget_after_ms=100, now_ms=T0 + 100, watermark_ms=T0)

    item.take([ItemUpdate(T0, EventCode.VIEW, "a")], now_ms=T0, emit_interval_ms=1000)
    assert not item.is_forgotten(forget_after_ms=100, now_ms=T0 + 5000, watermark_ms=T0 + 5000)


def test_a_saved_copy_does_not_move_with_the_tally() -> None:
    item = tally()
    item.take([ItemUpdate(T0, EventCode.VIEW, "a", after=((B, 1.0),))], now_ms=T0, emit_interval_ms=0)
    saved = item.copy()

    item.take([ItemUpdate(T0, EventCode.VIEW, "a", after=((C, 1.0),))], now_ms=T0, emit_interval_ms=0)

    assert (saved.counts.popularity, saved.counts.pairs) == (1.0, {B: (1.0, 0.0, 1.0)})
    assert saved.counts.origin_counts == [1, 0, 0, 0]


def test_the_watermark_is_the_newest_time_seen() -> None:
    watermark = Watermark()
    for ts_ms in (5, 9, 7):
        watermark.observe(ts_ms)
    assert watermark.latest_ms == 9


def test_another_field_of_what_the_flow_keeps_is_another_state_version() -> None:
    """Bytewax pickles it by class and field names: a store of another release cannot be read."""

    kept, larger = (make_dataclass("ItemTally", names) for names in (["counts"], ["counts", "carts"]))

    assert state_version().startswith("5-")
    assert state_version([kept]) == state_version([make_dataclass("ItemTally", ["counts"])])
    assert len({state_version([kept]), state_version([larger]), state_version([ItemTally])}) == 3
