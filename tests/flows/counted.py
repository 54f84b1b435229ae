"""Both sides that count: a log through the trends flow's own steps, and through the replay that training makes.

Each gives the columns that a gateway would hold after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.codec import decode_ended, decode_showings, decode_trend
from contracts.events import Event
from contracts.ids import item_key
from contracts.items import ItemSeen
from contracts.settings import SessionSettings
from eventlog.contract import Topic
from flows.settings import FlowSettings
from flows.trend_steps import (
    EventTime,
    ItemTally,
    PartitionSessions,
    ShowingRow,
    ShowingTally,
    TrendRows,
    showings_by_shard,
    updates_by_shard,
)
from flows.trends import CountItems, CountShowings
from learning.replay import Towers, TrainingReplay
from rerank.query import PipelineSettings
from retrieval.open_sessions import TrendEvent, raise_again
from retrieval.session_columns import SessionColumns
from retrieval.showings import ShowingBatch, ShowingCounts
from retrieval.trend_columns import TrendColumns
from retrieval.trend_counts import SavedCounts, TrendCounts
from retrieval.trends import TrendRules

RULES = TrendRules()
GAP_MS = SessionSettings().idle_gap_ms
NOW_MS = 10_000_000_000_000
"""Where the clock stands: later than any event."""
COUNTS = ("popularity", "recent", "views")
VOTES = ("votes", "cosine", "cosine_last", "next", "before", "next_alike", "next_exactly", "later_alike")


@dataclass
class Columns:
    """What a gateway holds."""

    trends: TrendColumns
    ended: SessionColumns


@dataclass
class Flow:
    """The stateful steps of the trends flow, driven by hand: the clock stands still, and `notify` is called."""

    rules: TrendRules = RULES
    idle_gap_ms: int = GAP_MS
    columns: Columns = field(init=False)
    _time: EventTime = field(default_factory=lambda: EventTime(0, NOW_MS))
    _sessions: PartitionSessions = field(init=False)
    _items: dict[str, CountItems] = field(default_factory=dict)
    _shown: dict[str, CountShowings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = Columns(TrendColumns(RULES), SessionColumns())
        self._sessions = self._following(None)

    def read(self, event: Event) -> None:
        self._time.observe(event.ts, NOW_MS)
        self._sessions.take([(event.session_id, TrendEvent.of(event))], NOW_MS)
        self._hand_on()

    def notify(self) -> None:
        """Ask which sessions have ended, as Bytewax does every ten seconds, and write all rows."""
        for topic in (Topic.CLICKS, Topic.IMPRESSIONS):  # they come as they happened
            self._sessions.caught_up(topic)
        self._sessions.close(NOW_MS)
        self._hand_on()
        for items in self._items.values():
            self._write(items.on_eof()[0])
        for shard, shown in self._shown.items():
            self._write_block(shard, shown.on_eof()[0])

    def restart(self) -> None:
        """Save all state, and go on from what was saved."""
        saved = self._sessions.saved()
        self._sessions = self._following(saved)
        self._items = {shard: self._counting(items.snapshot()) for shard, items in self._items.items()}

    def _hand_on(self) -> None:
        followed = self._sessions.followed()
        if followed is None:
            return
        self.columns.ended.apply((slot, decode_ended(row)) for slot, row in followed.ended.rows.items())
        for shard, updates in updates_by_shard([("0", followed)], names=False):
            if shard not in self._items:
                self._items[shard] = self._counting(None)
            self._write(self._items[shard].on_batch([updates])[0])
        for shard, batch in showings_by_shard([("0", followed)]):
            self._showing(shard, batch)

    def _following(self, saved: bytes | None) -> PartitionSessions:
        return PartitionSessions(self.rules, self.idle_gap_ms, now_ms=NOW_MS, saved=saved, leave_out=raise_again)

    def _counting(self, saved: SavedCounts | None) -> CountItems:
        return CountItems(ItemTally(TrendCounts(self.rules, saved)), FlowSettings(), self._time, lambda: NOW_MS)

    def _showing(self, shard: str, batch: ShowingBatch) -> None:
        step = self._shown.get(shard)
        if step is None:
            tally = ShowingTally(ShowingCounts(self.rules.half_life_ms))
            step = self._shown[shard] = CountShowings(tally, FlowSettings(), self._time, lambda: NOW_MS)
        self._write_block(shard, step.on_batch([batch])[0])

    def _write_block(self, shard: str, rows: Iterable[ShowingRow]) -> None:
        self.columns.trends.apply_showings((int(shard), decode_showings(row.row)) for row in rows)

    def _write(self, written: Iterable[TrendRows | ItemSeen]) -> None:
        for out in written:
            if isinstance(out, TrendRows):
                self.columns.trends.apply((item, decode_trend(row)) for item, row in out.rows.items())


def flowed(events: Iterable[Event], every: int, flow: Flow | None = None, *, restarts: bool = False) -> Columns:
    """Return the columns behind the trends flow; after every so many events its sessions are asked: have they ended?
    With `restarts`, it begins anew from what it saved then.
    """
    flow = flow or Flow()
    for number, event in enumerate(events, 1):
        flow.read(event)
        if number % every == 0:
            flow.notify()
            if restarts:
                flow.restart()
    flow.notify()
    return flow.columns


def trained(events: Sequence[Event], every: int) -> Columns:
    """Return the columns that training has made of a log, brought up to date after every so many events."""
    replay = TrainingReplay(Towers(), SessionSettings(), PipelineSettings(), RULES, every)
    list(replay.batches(events, lambda number, event: False, 0))
    replay.refresh()
    return Columns(replay.trends, replay.ended)


def assert_same(served: Columns, learnt: Columns, items: Sequence[str], now_ms: int) -> None:
    """Compare all that either side counts; what order of adding does to the last digits of a sum is no difference."""
    np.testing.assert_array_equal(np.sort(served.trends.keys), np.sort(learnt.trends.keys), "keys")
    keys = np.sort(np.array([item_key(item) for item in items], np.uint64))
    one, other = served.trends.rows_of(keys), learnt.trends.rows_of(keys)
    for name in COUNTS:
        here, there = (
            columns.trends.counts_at(name, rows, now_ms) for columns, rows in ((served, one), (learnt, other))
        )
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(served.trends.ctr_at(one), learnt.trends.ctr_at(other), rtol=1e-4, err_msg="ctr")
    np.testing.assert_allclose(served.trends.shown_at(one), learnt.trends.shown_at(other), rtol=1e-4, err_msg="shown")
    for name in ("popularity_at", "recent_at"):
        here, there = (getattr(served.trends, name)(one, now_ms), getattr(learnt.trends, name)(other, now_ms))
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(served.trends.views_of(keys, now_ms), learnt.trends.views_of(keys, now_ms), rtol=1e-4)
    np.testing.assert_array_equal(served.trends.origin_counts_at(one), learnt.trends.origin_counts_at(other), "origins")
    assert served.trends.transitions_per_item == learnt.trends.transitions_per_item
    _assert_same_pairs(served.trends, learnt.trends, keys)
    _assert_same_votes(served.ended, learnt.ended, keys)


def _assert_same_pairs(served: TrendColumns, learnt: TrendColumns, keys: np.ndarray) -> None:
    (named, shares), (others, expected) = served.neighbours_of(keys), learnt.neighbours_of(keys)
    by_name, by_other = np.argsort(named, axis=1), np.argsort(others, axis=1)
    np.testing.assert_array_equal(
        np.take_along_axis(named, by_name, axis=1), np.take_along_axis(others, by_other, axis=1), "pairs"
    )
    np.testing.assert_allclose(
        np.take_along_axis(shares, by_name[:, :, None], axis=1),
        np.take_along_axis(expected, by_other[:, :, None], axis=1),
        rtol=2e-3,
        atol=1e-6,
        err_msg="shares of pairs",
    )


def _assert_same_votes(served: SessionColumns, learnt: SessionColumns, keys: np.ndarray) -> None:
    """Compare ended sessions by their slots, and by what they say of every item to a walk over each two of them."""
    assert sorted(served.slots()) == sorted(learnt.slots())
    walks = np.array([[keys[at], keys[at - 1]] for at in range(len(keys))], np.uint64)
    starts = np.arange(len(walks) + 1) * len(keys)
    here, there = (
        ended.votes(walks, np.tile(keys, len(walks)), starts, clicks=10, newest=1000) for ended in (served, learnt)
    )
    for name in VOTES:
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-5, err_msg=name)
