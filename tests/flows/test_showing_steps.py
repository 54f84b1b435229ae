"""A shard's showings in the trends flow: what its step writes, and what it forgets."""

from __future__ import annotations

import numpy as np

from contracts.codec import decode_showings
from contracts.ids import ItemKey
from contracts.settings import TrendOptions
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


def test_what_the_catalogue_does_not_have_is_not_handed_on_and_bounded() -> None:
    """Made-up ids in impressions took a row of every gateway's columns each."""
    trend = TrendOptions(max_items=160, waiting=160, showings_interval_ms=0)
    now_ms, known = [T0], {ItemKey(1)}
    step = CountShowings(
        ShowingTally(ShowingCounts(RULES.half_life_ms, asks=True)),
        FlowSettings(trend=trend),
        EventTime(0, T0),
        lambda: now_ms[0],
        known=lambda keys: np.isin(keys, list(known)),
    )

    def shown(*items: int) -> list[int]:
        now_ms[0] += 1000
        [(_, batch)] = by_shard([Showings(now_ms[0], tuple(map(ItemKey, items)))])
        [row], _ = step.on_batch([batch])
        keys: list[int] = decode_showings(row.row).keys.tolist()
        return keys

    for first in range(2, 100, 8):
        assert shown(1, *range(first, first + 8)) == [1]
    assert len(step.snapshot().counts.keys) <= 11
    known |= set(map(ItemKey, range(200, 220)))
    assert shown(199, 200) == [1, 200]
    assert len(shown(*range(200, 220))) == 9  # an eighth less than may be kept
