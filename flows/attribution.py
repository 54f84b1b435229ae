"""The attribution flow: what was shown, joined with what came of it, becomes cells that figures are made of.

    python -m bytewax.run flows.attribution:flow

Redis is the state, as with the sessions flow: a worker may die at any step and another resumes at the stored offsets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from contracts.clock import wall_clock_ms
from contracts.exits import or_exit
from contracts.logs import log_as
from eventlog.contract import Batch, LogReader, LogWriter, Topic
from flows.apply_once import ApplyOnce
from flows.attribution_steps import AttributionPath, FactBatch, decode_facts
from flows.counted import open_counted_writer, serve
from flows.erased import open_visitors_log
from flows.log_source import Cursor, LogSource, stepping_back
from flows.members import members_of
from flows.quiet_sink import QuietSink
from flows.settings import FlowSettings, settings_on_whole_state
from flows.still_logged import still_logged
from state.attribution import AttributionStore
from state.experiment_rows import PublishedNames
from state.flow_members import FlowMembers
from state.presence import announce
from state.read_progress import ReadProgress

GROUP = "attribution"


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow. Connections open when the first batch is asked for, in the process that runs it."""
    options = settings.attribution
    serve(GROUP, settings)

    @cache
    def writer() -> LogWriter:
        return open_counted_writer(GROUP, settings)

    store = AttributionStore(
        settings.redis,
        unit_ms=options.unit_ms,
        max_cells=options.max_cells,
        keep_ms=options.keep_ms,
        max_units=options.max_units,
    )
    names = PublishedNames(settings.redis, time.monotonic)
    path = AttributionPath(store=store, writer=writer, options=options, published=names.among)
    flow, members = Dataflow(GROUP), members_of(GROUP, settings)
    topics = (Topic.IMPRESSIONS, Topic.CLICKS)
    counted = [_counted(topic, settings, store, path, flow, clock_ms, members) for topic in topics]
    op.output("done", op.merge("both", *counted), QuietSink())
    return flow


def _counted(
    topic: Topic,
    settings: FlowSettings,
    store: AttributionStore,
    path: AttributionPath,
    flow: Dataflow,
    clock_ms: Callable[[], int],
    members: FlowMembers | None,
) -> Stream[int]:
    """Wire one topic: read it, find its facts, count them."""
    cursor = Cursor()

    def open_own_reader(partitions: Sequence[int]) -> LogReader:
        return open_visitors_log(settings, topic, partitions, GROUP)

    def stored_offset(partition: int) -> int:
        return store.place(topic, partition).next_offset

    def decode(batch: Batch) -> FactBatch:
        return decode_facts(
            batch, now_ms=clock_ms(), max_future_ms=settings.flow.max_future_ms, types=settings.events.types
        )

    source = LogSource(
        partitions=settings.log.partitions,
        open_reader=open_own_reader,
        stored_offset=stored_offset,
        cursor=cursor,
        options=settings.flow,
        progress=ReadProgress(settings.redis, GROUP, topic),
        members=members,
        step_back=stepping_back(settings, GROUP, topic),
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
    readings = op.input(f"read_{topic}", flow, source)
    decoded = op.map(f"find_facts_{topic}", readings, lambda reading: list(map(decode, reading)))
    return op.map(f"count_{topic}", decoded, lambda batches: sum(map(once, batches)))


log_as(GROUP, logging.WARNING)
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, GROUP)
