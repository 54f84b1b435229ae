"""The trends flow: clicks and impressions become each item's popularity, click rate and co-visitation, and the clicks
of ended sessions are kept for sessions like them.

    python -m bytewax.run flows.trends:flow                                    counts what the log still holds
    python -m bytewax.run flows.trends:flow $(python -m flows.trend_recovery trends.state)      counts that survive
    python -m bytewax.run flows.trends:flow -i 0 -a "localhost:2201;localhost:2202"   and -i 1 beside it

Bytewax holds the state: open sessions by partition of the log, counters by shard of the items, exchanged between
processes, recovered with the offsets that they stand for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import Sink

from compiled.kernels import prepare
from contracts.clock import wall_clock_ms
from contracts.errors import StateUnavailable
from contracts.exits import or_exit
from contracts.items import ItemSeen
from contracts.keys import ENDED, SHOWINGS, TRENDS
from contracts.left_out import LeftOutLog
from contracts.logs import log_as
from eventlog.contract import Batch, LogWriter, Topic
from eventlog.open_log import open_writer
from flows.counted import open_counted_writer
from flows.erased import Erased, ErasedList, nobody_erased, open_visitors_log
from flows.lost_rows import LostRowsSource
from flows.settings import FlowSettings, settings_on_whole_state
from flows.trend_sink import KEPT_BLOCKS, KEPT_CHANGES, SessionSink, ShowingSink, TrendSink, patiently
from flows.trend_source import ResumedLogSource
from flows.trend_steps import (
    WAITS_MS,
    Bounds,
    Events,
    EventTime,
    Followed,
    ItemTally,
    PartitionSessions,
    SessionRows,
    ShardUpdates,
    ShowingRow,
    ShowingTally,
    TrendRows,
    WriteAgain,
    again_at_once,
    decode_events,
    ended_sessions,
    showings_by_shard,
    updates_by_shard,
)
from retrieval.open_sessions import TrendEvent
from retrieval.showings import SHARDS, ShowingBatch, ShowingCounts, shards_of
from retrieval.trend_counts import KnownOf, SavedCounts, TrendCounts, all_known
from retrieval.trends import TrendRules
from state.presence import announce
from state.quality import BotSessions
from state.read_progress import ReadProgress
from state.shards import catalogue_reader
from state.table_pulse import TablePulse
from state.tables import TableReader, TableWriter

TrendOutput = TrendRows | ItemSeen
Read = Callable[[Batch], Events]
"""Decodes a batch; what cannot be read is dealt with."""

Bots = Callable[[], frozenset[str]]
"""Returns the sessions that no human has, the same object while they are the same."""

_CLOSE_EVERY_MS = 10_000
_NO_BOTS: frozenset[str] = frozenset()

_said = LeftOutLog(logging.getLogger(__name__))


def _leave_out(event: TrendEvent, error: Exception) -> None:
    """Say what could not be counted: raising would end the worker at it each time it starts."""
    _said.say(f"event of {event.ts_ms}", error)


def no_bots() -> frozenset[str]:
    """What is known of bots where nobody looks for them."""
    return _NO_BOTS


class FollowPartition(StatefulBatchLogic[Batch, Followed, bytes]):
    """A partition's sessions in Bytewax: take its events, and become rows once they have ended.

    `read` decodes a batch, and `time` is told of the newest event that this process has read. `bots` returns the
    sessions that no human has: those that are open are let go. So are those of visitors who were `erased`.
    """

    def __init__(
        self,
        sessions: PartitionSessions,
        read: Read,
        time: EventTime,
        clock_ms: Callable[[], int],
        bots: Bots = no_bots,
        erased: Erased = nobody_erased,
    ) -> None:
        self._sessions, self._read, self._time, self._clock_ms = sessions, read, time, clock_ms
        self._bots, self._dropped = bots, no_bots()
        self._erased, self._forgotten = erased, nobody_erased()
        self._close_ms = clock_ms() + _CLOSE_EVERY_MS

    def on_batch(self, values: list[Batch]) -> tuple[Iterable[Followed], bool]:
        now_ms = self._clock_ms()
        self._let_go()
        for batch in values:
            if batch.messages:
                self._time.observe(self._sessions.take(self._read(batch), now_ms), now_ms)
            else:
                self._sessions.caught_up(batch.topic)
        return self._followed(), self.RETAIN

    def on_notify(self) -> tuple[Iterable[Followed], bool]:
        now_ms = self._clock_ms()
        self._close_ms = now_ms + _CLOSE_EVERY_MS
        self._let_go()
        self._sessions.close(now_ms)
        return self._followed(), not len(self._sessions)

    def _let_go(self) -> None:
        if (bots := self._bots()) is not self._dropped:
            self._sessions.drop(bots)
            self._dropped = bots
        if (erased := self._erased()) is not self._forgotten:
            self._sessions.forget(erased.erased_ms)
            self._forgotten = erased

    def notify_at(self) -> datetime:
        return _at(self._close_ms)

    def snapshot(self) -> bytes:
        return self._sessions.saved()

    def _followed(self) -> list[Followed]:
        followed = self._sessions.followed()
        return [followed] if followed is not None else []


class CountItems(StatefulBatchLogic["ShardUpdates | WriteAgain", TrendOutput, SavedCounts]):
    """The counters of a shard's items in Bytewax: rows that moved are written once per interval.

    `time` is this process's: another may be the one that reads.
    """

    def __init__(self, tally: ItemTally, settings: FlowSettings, time: EventTime, clock_ms: Callable[[], int]) -> None:
        self._tally, self._trend = tally, settings.trend
        self._time, self._clock_ms = time, clock_ms
        self._due_ms = tally.due_ms(clock_ms(), interval_ms=self._trend.emit_interval_ms)

    def on_batch(self, values: list[ShardUpdates | WriteAgain]) -> tuple[Iterable[TrendOutput], bool]:
        counted = [one for one in values if isinstance(one, ShardUpdates)]
        out: list[TrendOutput] = [*self._tally.take(counted)]
        now_ms, interval_ms = self._clock_ms(), self._trend.emit_interval_ms
        if counted:
            self._time.observe(max(int(one.updates["ts_ms"].max()) for one in counted), now_ms)
        if len(counted) < len(values):
            self._tally.write_again([one.in_table for one in values if isinstance(one, WriteAgain)][-1])
        if now_ms >= self._tally.written_ms + interval_ms:
            out += self._write(now_ms)
        self._due_ms = min(self._due_ms, self._tally.due_ms(now_ms, interval_ms=interval_ms))
        return out, self.RETAIN

    def on_notify(self) -> tuple[Iterable[TrendOutput], bool]:
        written = self._write(self._clock_ms())
        return written, not len(self._tally.counts)

    def on_eof(self) -> tuple[Iterable[TrendOutput], bool]:
        return self._write(self._clock_ms()), self.RETAIN

    def notify_at(self) -> datetime:
        return _at(self._due_ms)

    def snapshot(self) -> SavedCounts:
        return self._tally.counts.saved()

    def _write(self, now_ms: int) -> list[TrendRows]:
        event_ms = self._time.at(now_ms)
        written = self._tally.write(now_ms, event_ms - self._trend.forget_after_ms, event_ms - WAITS_MS)
        self._due_ms = self._tally.due_ms(now_ms, interval_ms=self._trend.emit_interval_ms)
        return written


class CountShowings(StatefulBatchLogic["ShowingBatch | WriteAgain", ShowingRow, ShowingTally]):
    """The showings of a shard's items in Bytewax: written at most once per interval, all of them at once. `known` says
    which items the catalogue has.
    """

    def __init__(
        self,
        tally: ShowingTally,
        settings: FlowSettings,
        time: EventTime,
        clock_ms: Callable[[], int],
        known: KnownOf = all_known,
    ) -> None:
        self._tally, self._trend, self._bounds = tally, settings.trend, Bounds.of(settings.trend)
        self._time, self._clock_ms, self._known = time, clock_ms, known

    def on_batch(self, values: list[ShowingBatch | WriteAgain]) -> tuple[Iterable[ShowingRow], bool]:
        shown = [one for one in values if isinstance(one, ShowingBatch)]
        if len(shown) < len(values):
            self._tally.unwritten = self._tally.unwritten or len(self._tally.counts.keys) > 0
        if not shown:
            return [], self.RETAIN
        self._time.observe(max(int(one.ts_ms.max()) for one in shown), self._clock_ms())
        written = self._tally.take(
            shown, now_ms=self._clock_ms(), interval_ms=self._trend.showings_interval_ms, left=self._leave
        )
        return written, self.RETAIN

    def on_notify(self) -> tuple[Iterable[ShowingRow], bool]:
        return self._tally.write(self._clock_ms(), self._leave), self.RETAIN

    def on_eof(self) -> tuple[Iterable[ShowingRow], bool]:
        return self._tally.write(self._clock_ms(), self._leave), self.RETAIN

    def _leave(self, counts: ShowingCounts) -> None:
        """Let go of what is too old, or too much, and keep what the catalogue has by now."""
        with suppress(StateUnavailable):  # asked again with the next block
            counts.admit(self._known)
        counts.bound(*self._bounds)
        counts.forget(self._time.latest_ms - self._trend.forget_after_ms, self._time.latest_ms - WAITS_MS)

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
    session_sink: Sink[tuple[str, SessionRows]],
    showing_sink: Sink[tuple[str, ShowingRow]],
    writer: LogWriter,
    clock_ms: Callable[[], int],
    known: KnownOf = all_known,
    lost_rows: Source[WriteAgain] | None = None,
    bots: Bots = no_bots,
    erased: Erased = nobody_erased,
) -> Dataflow:
    """Wire the steps between sources and a sink. `known` says which items the catalogue has; `lost_rows` tells when the
    tables may have lost their rows; `bots` returns the sessions that no human has, whose events are left
    out; `erased` the visitors whose open sessions are let go of.
    """
    time, rules = EventTime(0, clock_ms()), replace(TrendRules.of(settings.trend), visitors=settings.trend.visitors)
    bounds, again = Bounds.of(settings.trend), again_at_once(settings.trend.emit_interval_ms)

    def read(batch: Batch) -> Events:
        limits = {"now_ms": clock_ms(), "max_future_ms": settings.flow.max_future_ms}
        events, rejected = decode_events(batch, **limits, types=settings.events.types)
        if rejected and batch.topic is Topic.IMPRESSIONS:  # what is wrong with clicks is the sessions flow's to say
            patiently(partial(writer.dead_letter, rejected), pause_ms=settings.flow.outage_pause_ms)
        found = bots()
        return [one for one in events if one[0] not in found] if found else events

    def follow(saved: bytes | None) -> FollowPartition:
        gap_ms = settings.session.idle_gap_ms
        most = settings.log.share(settings.trend.open_bytes)
        sessions = PartitionSessions(
            rules, gap_ms, now_ms=clock_ms(), saved=saved, leave_out=_leave_out, most_bytes=most
        )
        return FollowPartition(sessions, read, time, clock_ms, bots, erased)

    def count(saved: SavedCounts | None) -> CountItems:
        tally = ItemTally(TrendCounts(rules, saved), bounds, known, again)
        time.observe(tally.counts.newest_ms, clock_ms())
        return CountItems(tally, settings, time, clock_ms)

    def count_showings(tally: ShowingTally | None) -> CountShowings:
        tally = tally or ShowingTally(ShowingCounts(rules.half_life_ms, asks=True))
        return CountShowings(tally, settings, time, clock_ms, known)

    by_item = partial(updates_by_shard, names=settings.trend.catalogue_from_clicks)
    flow = Dataflow("trends")
    read_clicks, read_shown = op.input("read_clicks", flow, clicks), op.input("read_impressions", flow, impressions)
    batches = op.key_on("by_partition", op.merge("both", read_clicks, read_shown), lambda batch: str(batch.partition))
    followed = op.stateful_batch("follow_sessions", batches, follow)
    updates: Any = op.flat_map_batch("by_item", followed, by_item)
    showings: Any = op.flat_map_batch("by_shard", followed, showings_by_shard)
    if lost_rows is not None:
        to_all = op.flat_map("to_all_shards", op.input("look_at_tables", flow, lost_rows), to_all_shards)
        updates, showings = op.merge("of_items", updates, to_all), op.merge("of_showings", showings, to_all)
    rows = op.stateful_batch("count_items", updates, count)
    op.output("write", rows, sink)
    shown = op.stateful_batch("count_showings", showings, count_showings)
    op.output("write_showings", shown, showing_sink)
    op.output("write_sessions", op.filter_map("ended", followed, ended_sessions), session_sink)
    return flow


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow to the log and the trends table."""

    def source(topic: Topic) -> ResumedLogSource:
        return ResumedLogSource(
            topic=topic,
            partitions=settings.log.partitions,
            open_reader=lambda mine: open_visitors_log(settings, topic, mine, "trends"),
            options=settings.flow,
            rests=topic is Topic.CLICKS,
            progress=ReadProgress(settings.redis, "trends", topic),
        )

    def open_own_writer() -> LogWriter:
        return open_writer(settings.log, settings.redis)

    catalogue, quality = catalogue_reader(settings.redis), settings.quality
    return wire(
        settings,
        known=catalogue.holds,
        lost_rows=LostRowsSource(
            lambda: TablePulse(settings.redis, TRENDS), lambda: TableReader(settings.redis, TRENDS)
        ),
        clicks=source(Topic.CLICKS),
        impressions=source(Topic.IMPRESSIONS),
        sink=TrendSink(
            lambda: TableWriter(settings.redis, TRENDS, kept_changes=KEPT_CHANGES, tells=True),
            open_own_writer,
            pause_ms=settings.flow.outage_pause_ms,
        ),
        session_sink=SessionSink(
            lambda: TableWriter(settings.redis, ENDED, kept_changes=KEPT_CHANGES, tells=True),
            pause_ms=settings.flow.outage_pause_ms,
        ),
        showing_sink=ShowingSink(
            lambda: TableWriter(settings.redis, SHOWINGS, kept_changes=KEPT_BLOCKS, tells=True),
            pause_ms=settings.flow.outage_pause_ms,
        ),
        writer=open_counted_writer("trends", settings),
        bots=BotSessions(settings.redis, quality.bots_keep_ms, clock_ms) if quality.run else no_bots,
        erased=ErasedList(settings, "trends"),
        clock_ms=clock_ms,
    )


def to_all_shards(told: WriteAgain) -> list[tuple[str, WriteAgain]]:
    """Tell every shard of the rows that the table has of its items."""
    shards = shards_of(told.in_table)
    return [(str(shard), WriteAgain(told.in_table[shards == shard])) for shard in range(SHARDS)]


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


log_as("trends", logging.WARNING)
prepare()
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, "trends")
