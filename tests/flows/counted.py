"""Both sides that count: a log through the trends flow's own steps, and through the replay that training makes.

Each gives the columns that a gateway would hold after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.codec import EndedSession, decode_ended, decode_showings, decode_trend
from contracts.events import Event
from contracts.ids import ItemKey, item_key
from contracts.items import ItemSeen
from contracts.settings import SessionSettings
from flows.settings import FlowSettings
from flows.trend_steps import ItemTally, SessionRow, ShowingRow, ShowingTally, TrendRow, Watermark
from flows.trends import CountItem, CountShowings, FollowSession
from learning.replay import Towers, TrainingReplay
from rerank.query import PipelineSettings
from retrieval.open_sessions import OpenSession, SessionOutput, TrendEvent
from retrieval.session_columns import SessionColumns
from retrieval.showings import ShowingBatch, ShowingCounts, Showings, by_shard
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendAccumulator, TrendRules

RULES = TrendRules()
GAP_MS = SessionSettings().idle_gap_ms
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
    _watermark: Watermark = field(default_factory=Watermark)
    _sessions: dict[str, FollowSession] = field(default_factory=dict)
    _items: dict[ItemKey, CountItem] = field(default_factory=dict)
    _shown: dict[int, CountShowings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = Columns(TrendColumns(RULES), SessionColumns())

    def read(self, event: Event) -> None:
        seen = TrendEvent.of(event)
        self._watermark.observe(seen.ts_ms)
        step = self._sessions.get(event.session_id)
        if step is None:
            step = FollowSession(OpenSession(), self.rules, self.idle_gap_ms, self._watermark, lambda: 0)
            self._sessions[event.session_id] = step
        outputs, _ = step.on_batch([seen])
        self._hand_on(event.session_id, outputs)

    def notify(self) -> None:
        """Ask every session whether it has ended, as Bytewax does once a minute, and write all rows."""
        for session_id, step in list(self._sessions.items()):
            outputs, dropped = step.on_notify()
            self._hand_on(session_id, outputs)
            if dropped:
                del self._sessions[session_id]
        for item, tally in self._items.items():
            self._write(item, tally.on_eof()[0])
        for shard, shown in self._shown.items():
            self._write_block(shard, shown.on_eof()[0])

    def _hand_on(self, session_id: str, outputs: Iterable[SessionOutput]) -> None:
        for output in outputs:
            if isinstance(output, Showings):
                for shard, batch in by_shard([output]):
                    self._showing(shard, batch)
                continue
            if isinstance(output, EndedSession):
                slot, row = SessionRow.of(session_id, output, self.rules)
                self.columns.ended.apply([(slot, decode_ended(row))])
                continue
            item, update = output
            step = self._items.get(item)
            if step is None:
                tally = ItemTally(TrendAccumulator(self.rules), announced=True)
                step = self._items[item] = CountItem(tally, FlowSettings(), self._watermark, lambda: 0)
            self._write(item, step.on_batch([[update]])[0])

    def _showing(self, shard: int, batch: ShowingBatch) -> None:
        step = self._shown.get(shard)
        if step is None:
            tally = ShowingTally(ShowingCounts(self.rules.half_life_ms))
            step = self._shown[shard] = CountShowings(tally, FlowSettings(), self._watermark, lambda: 0)
        self._write_block(shard, step.on_batch([batch])[0])

    def _write_block(self, shard: int, rows: Iterable[ShowingRow]) -> None:
        self.columns.trends.apply_showings((shard, decode_showings(row.row)) for row in rows)

    def _write(self, item: ItemKey, rows: Iterable[TrendRow | ItemSeen]) -> None:
        trends = (decode_trend(row.row) for row in rows if isinstance(row, TrendRow) and row.row is not None)
        self.columns.trends.apply((item, trend) for trend in trends)


def flowed(events: Iterable[Event], every: int, flow: Flow | None = None) -> Columns:
    """Return the columns behind the trends flow; after every so many events its sessions are asked: have they ended?"""
    flow = flow or Flow()
    for number, event in enumerate(events, 1):
        flow.read(event)
        if number % every == 0:
            flow.notify()
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
