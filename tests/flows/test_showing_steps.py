"""A shard's showings in the trends flow: what its step writes, and what it forgets."""

from __future__ import annotations

from contracts.codec import decode_showings
from contracts.ids import ItemKey
from flows.settings import FlowSettings
from flows.trend_steps import EventTime, ShowingTally
from flows.trends import CountShowings
from retrieval.showings import ShowingCounts, Showings, by_shard
from retrieval.trends import TrendRules

RULES = TrendRules()
T0 = 1_700_000_000_000


def test_a_shard_that_is_never_quiet_forgets_items_all_the_same() -> None:
    """Its block is written as batches come, and then no notification is due."""
    day_ms, time, now_ms = 86_400_000, EventTime(0, T0), [T0]
    step = CountShowings(ShowingTally(ShowingCounts(RULES.half_life_ms)), FlowSettings(), time, lambda: now_ms[0])
    held = []
    for day in range(30):
        now_ms[0] = T0 + day * day_ms
        time.observe(now_ms[0], now_ms[0])
        [(_, batch)] = by_shard([Showings(now_ms[0], (ItemKey(day + 1),))])
        [row], _ = step.on_batch([batch])
        held.append(len(decode_showings(row.row).keys))
    assert held[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 8]  # forgotten after seven days
    assert set(held[8:]) == {8}
