"""The quality flow: clicks become counts by minute that checks are made of, and sessions that no human has are flagged.

    python -m bytewax.run flows.quality:flow

Redis is the state, as with the sessions flow: a worker may die at any step and another resumes at the stored offsets.
Counts are exact then, but for two: an event is known as a repeat, and a session as no human's, by what this process
has read since it began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from contracts.clock import wall_clock_ms
from contracts.exits import or_exit
from contracts.logs import log_as
from eventlog.contract import Batch, LogReader, LogWriter, Topic
from flows.apply_once import ApplyOnce
from flows.counted import open_counted_writer, serve
from flows.erased import open_visitors_log
from flows.log_source import Cursor, LogSource, stepping_back
from flows.members import members_of
from flows.quality_steps import KnownItems, QualityPath, RecordBatch, decode_records
from flows.quiet_sink import QuietSink
from flows.settings import FlowSettings, settings_on_whole_state
from flows.still_logged import still_logged
from quality.tally import Tally, TallyRules
from state.presence import announce
from state.quality import QualityStore
from state.read_progress import ReadProgress
from state.shards import catalogue_reader

GROUP = "quality"


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow. Connections open when the first batch is asked for, in the process that runs it."""
    options = settings.quality
    serve(GROUP, settings)

    @cache
    def writer() -> LogWriter:
        return open_counted_writer(GROUP, settings)

    store = QualityStore(
        settings.redis, max_cells=options.max_cells, max_bots=options.max_bots, bots_keep_ms=options.bots_keep_ms
    )
    rules = TallyRules.of(options, settings.session.idle_gap_ms, settings.events.types)
    known = KnownItems(catalogue_reader(settings.redis).holds, clock_ms)
    path = QualityPath(store=store, writer=writer, tally=Tally(rules), known=known)
    cursor = Cursor()

    def open_own_reader(partitions: Sequence[int]) -> LogReader:
        return open_visitors_log(settings, Topic.CLICKS, partitions, GROUP)

    def decode(batch: Batch) -> RecordBatch:
        return decode_records(batch, now_ms=clock_ms(), max_future_ms=settings.flow.max_future_ms)

    clicks = LogSource(
        partitions=settings.log.partitions,
        open_reader=open_own_reader,
        stored_offset=lambda partition: store.place(partition).next_offset,
        cursor=cursor,
        options=settings.flow,
        progress=ReadProgress(settings.redis, GROUP, Topic.CLICKS),
        members=members_of(GROUP, settings),
        step_back=stepping_back(settings, GROUP, Topic.CLICKS),
        gather_s=settings.log.gather_ms / 1000,
    )
    once = ApplyOnce(
        decode,
        path.apply,
        cursor,
        clock_ms=clock_ms,
        pause_ms=settings.flow.outage_pause_ms,
        still_logged=still_logged(settings.log, open_own_reader),
    )
    flow = Dataflow(GROUP)
    readings = op.input("read_clicks", flow, clicks)
    decoded = op.map("read_records", readings, lambda reading: list(map(decode, reading)))
    counted = op.map("count", decoded, lambda batches: sum(map(once, batches)))
    op.output("done", counted, QuietSink())
    return flow


log_as(GROUP, logging.WARNING)
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, GROUP)
