"""The items flow: catalogue and stock changes become rows with vectors that every process follows.

    python -m bytewax.run flows.items:flow

Rows, the change stream and the log offset are committed together, so a worker may die at any step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from contracts.clock import wall_clock_ms
from contracts.exits import or_exit
from contracts.logs import log_as
from eventlog.contract import Batch, LogReader, Topic
from eventlog.open_log import open_reader
from flows.apply_once import ApplyOnce
from flows.counted import open_counted_writer
from flows.item_steps import DecodedChanges, ItemPath, Room, decode_changes
from flows.log_source import Cursor, LogSource, stepping_back
from flows.members import members_of
from flows.quiet_sink import QuietSink
from flows.serving_model import serving_tower
from flows.settings import FlowSettings, settings_on_whole_state
from flows.still_logged import still_logged
from flows.watched import watch_items
from state.presence import announce
from state.read_progress import ReadProgress
from state.shards import catalogue_reader, catalogue_writer


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow. Connections open when the first batch is asked for."""
    reader, table = catalogue_reader(settings.redis), catalogue_writer(settings.redis)
    path = ItemPath(
        reader=reader,
        table=table,
        writer=open_counted_writer("items", settings),
        tower=serving_tower(settings, clock_ms),
        clock_ms=clock_ms,
        bounds=Room(settings.catalogue.max_items, settings.catalogue.max_bytes, settings.log.max_record_bytes),
        watch=watch_items(settings),
    )
    cursor = Cursor()

    def open_own_reader(partitions: Sequence[int]) -> LogReader:
        return open_reader(settings.log, settings.redis, Topic.ITEMS, partitions, "items")

    still = still_logged(settings.log, open_own_reader)

    def prepare() -> None:
        table.claim()
        reader.measure()

    def decode(batch: Batch) -> DecodedChanges:
        return decode_changes(batch, now_ms=clock_ms())

    changes = LogSource(
        partitions=settings.log.partitions,
        open_reader=open_own_reader,
        stored_offset=lambda partition: reader.applied(Topic.ITEMS, partition),
        cursor=cursor,
        options=settings.flow,
        prepare=prepare,
        progress=ReadProgress(settings.redis, "items", Topic.ITEMS),
        members=members_of("items", settings),
        step_back=stepping_back(settings, "items", Topic.ITEMS),
    )
    flow = Dataflow("items")
    batches = op.input("read_items", flow, changes)
    decoded = op.flat_map("decode_validate", batches, lambda reading: map(decode, reading))
    pause_ms = settings.flow.outage_pause_ms
    once = ApplyOnce(decode, path.apply, cursor, clock_ms=clock_ms, pause_ms=pause_ms, still_logged=still)
    applied = op.map("embed_commit", decoded, once)
    op.output("done", applied, QuietSink())
    return flow


log_as("items", logging.WARNING)
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, "items")
