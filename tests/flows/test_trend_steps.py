"""What the trends flow does around the counting core, as plain functions: bytes into events, updates into rows."""

from __future__ import annotations

from dataclasses import make_dataclass

import numpy as np
import orjson

from contracts.codec import decode_trend
from contracts.errors import StateUnavailable
from contracts.events import EventCode
from contracts.ids import ItemKey, event_key, item_key
from contracts.items import ItemSeen
from eventlog.contract import Batch, Message, Topic
from flows.settings import FlowSettings
from flows.trend_recovery import state_version
from flows.trend_steps import (
    Bounds,
    EventTime,
    ItemTally,
    ShardUpdates,
    TrendRows,
    again_at_once,
    decode_events,
)
from flows.trends import CountItems
from retrieval.groups import groups_of
from retrieval.open_sessions import TrendEvent
from retrieval.showings import SHARDS
from retrieval.trend_counts import SavedCounts, TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import CountedClick, TrendRules

RULES = TrendRules()
T0 = 1_700_000_000_000
A, B = item_key("a"), item_key("b")


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


def updates(*clicks: CountedClick, names: bool = False) -> ShardUpdates:
    return ShardUpdates(updates_of(clicks), {click.item: click.item_id for click in clicks} if names else {})


def click(item: str, ts_ms: int = T0, visitor: int = 0) -> CountedClick:
    return CountedClick(ts_ms, item_key(item), item, visitor=visitor)


def popularity(written: list[TrendRows]) -> dict[int, float]:
    return {item: decode_trend(row).popularity for out in written for item, row in out.rows.items()}


def test_rows_that_moved_are_written_and_none_twice() -> None:
    tally = ItemTally(TrendCounts(RULES))
    tally.take([updates(click("a"), click("b")), updates(click("a"))])

    assert popularity(tally.write(T0, 0)) == {A: 2.0, B: 1.0}
    assert tally.write(T0 + 1, 0) == []
    tally.take([updates(click("b"))])
    assert popularity(tally.write(T0 + 1000, 0)) == {B: 2.0}


def test_the_first_click_on_an_item_announces_it_once_where_that_is_wanted() -> None:
    tally = ItemTally(TrendCounts(RULES))

    assert tally.take([updates(click("a", T0 + 3), names=True)]) == [ItemSeen(item_id="a", ts=T0 + 3)]
    assert tally.take([updates(click("a", T0 + 4), names=True)]) == []
    assert tally.take([updates(click("b"))]) == []


def test_a_quiet_item_is_forgotten_but_never_before_its_row_is_written() -> None:
    tally = ItemTally(TrendCounts(RULES))
    tally.take([updates(click("a"), click("b", T0 + 5))])

    [written] = tally.write(T0, T0 + 1)
    assert (sorted(written.rows), written.deleted) == (sorted([A, B]), [A])
    assert tally.write(T0 + 59_999, T0 + 9) == []  # once a minute: it costs the whole shard
    assert [out.deleted for out in tally.write(T0 + 60_000, T0 + 9)] == [[B]]
    assert len(tally.counts) == 0


def test_shards_take_turns_within_the_interval() -> None:
    def next_write(shard: int, written_ms: int) -> int:
        tally = ItemTally(TrendCounts(RULES))
        tally.take([updates(CountedClick(T0, ItemKey(shard << 60), "some"))])
        tally.written_ms = written_ms
        return tally.due_ms(written_ms, interval_ms=1600) - T0

    assert [next_write(shard, T0) for shard in (0, 1, 15)] == [1600, 400, 1200]
    assert [next_write(1, T0 + 400), next_write(1, T0 + 390)] == [2000, 400]


def test_a_shard_without_anything_to_write_looks_after_quiet_items_now_and_then() -> None:
    tally = ItemTally(TrendCounts(RULES))
    tally.take([updates(click("a"))])
    tally.write(T0, 0)
    assert tally.due_ms(T0, interval_ms=1000) == T0 + 600_000


def test_a_process_that_only_counts_learns_the_time_from_what_it_counts() -> None:
    day_ms, time, now_ms = 86_400_000, EventTime(0, T0), [T0 - 60_000]
    step = CountItems(ItemTally(TrendCounts(RULES)), FlowSettings(), time, lambda: now_ms[0])
    step.on_batch([updates(click("a", T0 - 8 * day_ms))])
    now_ms[0] = T0
    [written], dropped = step.on_batch([updates(click("b", T0))])

    assert isinstance(written, TrendRows)
    assert (written.deleted, dropped, time.latest_ms) == ([A], False, T0)


def test_event_time_is_the_newest_seen_and_goes_on_with_the_clock() -> None:
    time = EventTime(5, T0)
    for ts_ms in (9, 7):
        time.observe(ts_ms, T0 + 10)
    assert (time.latest_ms, time.at(T0 + 10), time.at(T0 + 12), time.at(T0)) == (9, 9, 11, 9)


def test_event_time_is_never_ahead_of_the_clock() -> None:
    time = EventTime(0, T0)
    time.observe(T0 + 299_000, T0)
    assert (time.latest_ms, time.at(T0 + 1)) == (T0, T0 + 1)


def test_another_field_of_what_the_flow_keeps_is_another_state_version() -> None:
    """Bytewax pickles it by class and field names: a store of another release cannot be read."""

    kept, larger = (make_dataclass("SavedCounts", names) for names in (["counts"], ["counts", "carts"]))

    assert state_version().startswith("6-")
    assert state_version([kept]) == state_version([make_dataclass("SavedCounts", ["counts"])])
    others = (state_version([larger]), state_version([SavedCounts]), state_version([kept], ["carts"]))
    assert len({state_version([kept]), *others}) == 4


def test_made_up_ids_are_neither_written_nor_held_beyond_the_bounds() -> None:
    """Seven megabytes of them once grew the flow and every gateway by 550 MB, for a week."""
    rules, bounds = TrendRules(visitors=3), Bounds(kept=1000, waiting=500)
    tally = ItemTally(TrendCounts(rules), bounds, known=lambda keys: np.isin(keys, [A, B]))
    written: list[TrendRows] = []
    for second in range(100):
        clicks = [click(f"made-up-{second}-{n}", visitor=n) for n in range(1000)]
        tally.take([updates(*clicks, click("a", visitor=second), click("b", visitor=second))])
        written += tally.write(T0 + 1000 * second, 0)
    assert {key for out in written for key in out.rows} == {A, B}
    assert [key for out in written for key in out.deleted] == []
    assert len(tally.counts) <= 502


def test_of_more_items_than_are_kept_the_table_loses_those_least_clicked() -> None:
    tally = ItemTally(TrendCounts(TrendRules()), Bounds(kept=80, waiting=16))
    for number in range(100):
        tally.take([updates(*[click(f"item-{number}")] * (1 + number))])
    [written] = tally.write(T0, 0)
    assert sorted(written.deleted) == sorted(item_key(f"item-{number}") for number in range(30))
    assert sorted(written.rows) == sorted(item_key(f"item-{number}") for number in range(30, 100))


def test_an_item_that_is_loaded_after_its_only_click_has_trends_within_a_minute() -> None:
    catalogue: list[ItemKey] = []
    tally = ItemTally(TrendCounts(TrendRules(visitors=3)), known=lambda keys: np.isin(keys, catalogue))
    tally.take([updates(click("a"))])
    assert tally.write(T0, 0) == []
    catalogue.append(A)
    assert tally.due_ms(T0, interval_ms=1000) == T0 + 60_000
    assert popularity(tally.write(T0 + 60_000, 0)) == {A: 1.0}


def test_while_the_catalogue_cannot_be_asked_ids_wait_and_are_asked_for_later() -> None:
    answers: list[Exception | None] = [StateUnavailable("away"), None]

    def known(keys: np.ndarray) -> np.ndarray:
        if answers and (error := answers.pop(0)) is not None:
            raise error
        return np.ones(len(keys), np.bool_)

    tally = ItemTally(TrendCounts(TrendRules(visitors=3)), known=known)
    tally.take([updates(click("a"))])
    assert tally.write(T0, 0) == []
    assert tally.due_ms(T0, interval_ms=1000) <= T0 + 1000
    assert popularity(tally.write(T0 + 1000, 0)) == {A: 1.0}


def test_rows_that_the_table_lost_are_written_again_some_at_a_time_and_strange_ones_go() -> None:
    tally = ItemTally(TrendCounts(RULES), again_at_once=2)
    tally.take([updates(*[click(f"item-{n}") for n in range(5)])])
    tally.write(T0, 0)
    tally.write_again(np.array([7, item_key("item-1")], np.uint64))
    tally.take([updates(click("item-4"))])

    waited, sizes, deleted = T0, list[int](), list[ItemKey]()
    while (due := tally.due_ms(waited, interval_ms=1000)) < waited + 600_000:
        waited = due
        for out in tally.write(waited, 0):
            sizes.append(len(out.rows))
            deleted += out.deleted
    assert sum(sizes) in (5, 6)  # item-4 moved, and may come once more in its turn
    assert max(sizes) <= 3
    assert deleted == [7]


def test_five_thousand_rows_a_second_are_written_again_whatever_the_interval() -> None:
    assert [again_at_once(ms) * SHARDS * 1000 // ms for ms in (100, 1000, 4000)] == [4960, 4992, 4992]


def test_where_rows_are_lost_those_of_regions_are_written_again_too() -> None:
    [north] = groups_of("north")
    tally = ItemTally(TrendCounts(RULES))
    tally.take([updates(click("a")._replace(groups=(north,)))])
    assert popularity(tally.write(T0, 0)) == {A: 1.0, north: 1.0}
    assert tally.write(T0 + 1, 0) == []

    tally.write_again(np.array([A], np.uint64))
    assert popularity(tally.write(T0 + 2, 0)) == {A: 1.0, north: 1.0}
