"""The trends flow: clicks and impressions become each item's popularity, click rate and co-visitation, and the clicks
of ended sessions are kept for sessions like them.

    python -m bytewax.run flows.trends:flow                                    counts what the log still holds
    python -m bytewax.run flows.trends:flow $(python -m flows.trend_recovery trends.state)      counts that survive
    python -m bytewax.run flows.trends:flow -i 0 -a "localhost:2201;localhost:2202"   and -i 1 beside it

Bytewax holds the state: sessions by session id, counters by item, exchanged between processes, recovered with the
offsets that they stand for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import Sink

from compiled.kernels import prepare
from contracts.clock import wall_clock_ms
from contracts.codec import EndedSession
from contracts.exits import or_exit
from contracts.items import ItemSeen
from contracts.keys import ENDED, SHOWINGS, TRENDS
from contracts.left_out import LeftOutLog
from eventlog.contract import Batch, LogWriter, Topic
from eventlog.open_log import open_reader, open_writer
from flows.settings import FlowSettings
from flows.trend_sink import KEPT_BLOCKS, KEPT_CHANGES, SessionSink, ShowingSink, TrendSink, patiently
from flows.trend_source import ResumedLogSource
from flows.trend_steps import (
    ItemTally,
    SessionRow,
    ShowingRow,
    ShowingTally,
    TrendRow,
    Watermark,
    aligned,
    decode_events,
    updates_by_item,
)
from retrieval.open_sessions import OpenSession, SessionOutput, TrendEvent
from retrieval.showings import ShowingBatch, ShowingCounts, Showings, by_shard
from retrieval.trends import ItemUpdate, TrendAccumulator, TrendRules
from state.tables import TableWriter

TrendOutput = TrendRow | ItemSeen
_CHECK_SESSION_MS = 60_000
_CHECK_TOGETHER_MS = 10_000

_said = LeftOutLog(logging.getLogger(__name__))


def _leave_out(what: TrendEvent | ItemUpdate, error: Exception) -> None:
    """Say what could not be counted: raising would end the worker at it each time it starts."""
    _said.say(f"{type(what).__name__.lower()} of {what.ts_ms}", error)


class FollowSession(StatefulBatchLogic[TrendEvent, SessionOutput, OpenSession]):
    """A session in Bytewax: takes events, becomes a row once it has ended.

    Time is event time. In a log that has gone quiet, where event time stands still, the clock ends the session.
    """

    def __init__(
        self,
        session: OpenSession,
        rules: TrendRules,
        idle_gap_ms: int,
        watermark: Watermark,
        clock_ms: Callable[[], int],
    ) -> None:
        self._session, self._rules, self._idle_gap_ms = session, rules, idle_gap_ms
        self._watermark, self._clock_ms = watermark, clock_ms
        self._touched_ms = clock_ms()  # also of one that was recovered: what the log holds of it may still be unread
        self._check_ms = aligned(self._touched_ms + _CHECK_SESSION_MS, _CHECK_TOGETHER_MS)

    def on_batch(self, values: list[TrendEvent]) -> tuple[Iterable[SessionOutput], bool]:
        self._touched_ms = self._clock_ms()
        return self._session.take(values, self._rules, self._idle_gap_ms, _leave_out), self.RETAIN

    def on_notify(self) -> tuple[Iterable[SessionOutput], bool]:
        now_ms, watermark_ms = self._clock_ms(), self._watermark.latest_ms
        self._check_ms = aligned(now_ms + _CHECK_SESSION_MS, _CHECK_TOGETHER_MS)
        if now_ms >= self._touched_ms + self._idle_gap_ms:
            return self._session.end(), self.DISCARD
        ended = self._session.end_at(watermark_ms, self._idle_gap_ms)
        return ended, self._session.is_spent(watermark_ms, self._idle_gap_ms)

    def notify_at(self) -> datetime:
        return _at(self._check_ms)

    def snapshot(self) -> OpenSession:
        return self._session.copy()


class CountItem(StatefulBatchLogic[list[ItemUpdate], TrendOutput, ItemTally]):
    """An item's tally in Bytewax: written at most once per interval, dropped when forgotten."""

    def __init__(
        self, tally: ItemTally, settings: FlowSettings, watermark: Watermark, clock_ms: Callable[[], int]
    ) -> None:
        self._tally, self._trend = tally, settings.trend
        self._watermark, self._clock_ms = watermark, clock_ms

    def on_batch(self, values: list[list[ItemUpdate]]) -> tuple[Iterable[TrendOutput], bool]:
        interval_ms, updates = self._trend.emit_interval_ms, [update for some in values for update in some]
        written = self._tally.take(updates, now_ms=self._clock_ms(), emit_interval_ms=interval_ms, leave_out=_leave_out)
        return written, self.RETAIN

    def on_notify(self) -> tuple[Iterable[TrendOutput], bool]:
        now_ms = self._clock_ms()
        if self._tally.is_forgotten(
            forget_after_ms=self._trend.forget_after_ms, now_ms=now_ms, watermark_ms=self._watermark.latest_ms
        ):
            return [TrendRow(None)], self.DISCARD
        return self._tally.write(now_ms), self.RETAIN

    def on_eof(self) -> tuple[Iterable[TrendOutput], bool]:
        return self._tally.write(self._clock_ms()), self.RETAIN

    def notify_at(self) -> datetime:
        return _at(self._tally.wake_ms(self._clock_ms(), emit_interval_ms=self._trend.emit_interval_ms))

    def snapshot(self) -> ItemTally:
        return self._tally.copy()


class CountShowings(StatefulBatchLogic[ShowingBatch, ShowingRow, ShowingTally]):
    """The showings of a shard's items in Bytewax: written at most once per interval, all of them at once."""

    def __init__(
        self, tally: ShowingTally, settings: FlowSettings, watermark: Watermark, clock_ms: Callable[[], int]
    ) -> None:
        self._tally, self._trend = tally, settings.trend
        self._watermark, self._clock_ms = watermark, clock_ms

    def on_batch(self, values: list[ShowingBatch]) -> tuple[Iterable[ShowingRow], bool]:
        written = self._tally.take(
            values,
            now_ms=self._clock_ms(),
            interval_ms=self._trend.showings_interval_ms,
            forget_before_ms=self._forget_before_ms,
        )
        return written, self.RETAIN

    def on_notify(self) -> tuple[Iterable[ShowingRow], bool]:
        return self._tally.write(self._clock_ms(), self._forget_before_ms), self.RETAIN

    def on_eof(self) -> tuple[Iterable[ShowingRow], bool]:
        return self._tally.write(self._clock_ms(), self._forget_before_ms), self.RETAIN

    @property
    def _forget_before_ms(self) -> int:
        return self._watermark.latest_ms - self._trend.forget_after_ms

    def notify_at(self) -> datetime | None:
        return _at(self._tally.written_ms + self._trend.showings_interval_ms) if self._tally.unwritten else None

    def snapshot(self) -> ShowingTally:
        return self._tally.copy()


def wire(
    settings: FlowSettings,
    *,
    clicks: Source[Batch],
    impressions: Source[Batch],
    sink: Sink[tuple[str, TrendOutput]],
    session_sink: Sink[tuple[str, SessionRow]],
    showing_sink: Sink[tuple[str, ShowingRow]],
    writer: LogWriter,
    clock_ms: Callable[[], int],
) -> Dataflow:
    """Wire the steps between sources and a sink."""
    watermark = Watermark()
    rules = TrendRules.of(settings.trend)

    def decode(batch: Batch) -> list[tuple[str, TrendEvent]]:
        events, rejected = decode_events(batch, now_ms=clock_ms(), max_future_ms=settings.flow.max_future_ms)
        if rejected and batch.topic is Topic.IMPRESSIONS:  # what is wrong with clicks is the sessions flow's to say
            patiently(partial(writer.dead_letter, rejected), pause_ms=settings.flow.outage_pause_ms)
        for _, event in events:
            watermark.observe(event.ts_ms)
        return events

    def follow(session: OpenSession | None) -> FollowSession:
        return FollowSession(session or OpenSession(), rules, settings.session.idle_gap_ms, watermark, clock_ms)

    def shown(output: tuple[str, SessionOutput]) -> Showings | None:
        return output[1] if isinstance(output[1], Showings) else None

    def parted(showings: list[Showings]) -> list[tuple[str, ShowingBatch]]:
        return [(str(shard), batch) for shard, batch in by_shard(showings)]

    def ended(output: tuple[str, SessionOutput]) -> tuple[str, SessionRow] | None:
        session_id, one = output
        return (session_id, SessionRow.of(session_id, one, rules)) if isinstance(one, EndedSession) else None

    def count(tally: ItemTally | None) -> CountItem:
        new = ItemTally(TrendAccumulator(rules), announced=not settings.trend.catalogue_from_clicks)
        return CountItem(tally or new, settings, watermark, clock_ms)

    def count_showings(tally: ShowingTally | None) -> CountShowings:
        return CountShowings(tally or ShowingTally(ShowingCounts(rules.half_life_ms)), settings, watermark, clock_ms)

    flow = Dataflow("trends")
    decoded_clicks = op.flat_map("decode_clicks", op.input("read_clicks", flow, clicks), decode)
    decoded_shown = op.flat_map("decode_impressions", op.input("read_impressions", flow, impressions), decode)
    events = op.merge("by_session", decoded_clicks, decoded_shown)
    outputs = op.stateful_batch("follow_sessions", events, follow)
    rows = op.stateful_batch("count_items", op.flat_map_batch("by_item", outputs, updates_by_item), count)
    op.output("write", rows, sink)
    batches = op.flat_map_batch("by_shard", op.filter_map("shown", outputs, shown), parted)
    op.output("write_showings", op.stateful_batch("count_showings", batches, count_showings), showing_sink)
    op.output("write_sessions", op.filter_map("ended", outputs, ended), session_sink)
    return flow


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow to the log and the trends table."""

    def source(topic: Topic) -> ResumedLogSource:
        return ResumedLogSource(
            partitions=settings.log.partitions,
            open_reader=lambda mine: open_reader(settings.log, settings.redis, topic, mine, "trends"),
            options=settings.flow,
            rests=topic is Topic.CLICKS,
        )

    def open_own_writer() -> LogWriter:
        return open_writer(settings.log, settings.redis)

    return wire(
        settings,
        clicks=source(Topic.CLICKS),
        impressions=source(Topic.IMPRESSIONS),
        sink=TrendSink(
            lambda: TableWriter(settings.redis, TRENDS, kept_changes=KEPT_CHANGES),
            open_own_writer,
            pause_ms=settings.flow.outage_pause_ms,
        ),
        session_sink=SessionSink(
            lambda: TableWriter(settings.redis, ENDED, kept_changes=KEPT_CHANGES),
            pause_ms=settings.flow.outage_pause_ms,
        ),
        showing_sink=ShowingSink(
            lambda: TableWriter(settings.redis, SHOWINGS, kept_changes=KEPT_BLOCKS),
            pause_ms=settings.flow.outage_pause_ms,
        ),
        writer=open_own_writer(),
        clock_ms=clock_ms,
    )


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


prepare()
flow = or_exit(lambda: build(FlowSettings()))
