"""The sessions flow: clicks become session views that the next request reads.

    python -m bytewax.run flows.sessions:flow                                     one process
    python -m bytewax.run flows.sessions:flow -i 0 -a "localhost:2101;localhost:2102"   and -i 1 beside it

Redis is the state: workers hold none, so a worker may die at any step and another resumes at the stored offset.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from compiled.kernels import prepare
from contracts.clock import wall_clock_ms
from contracts.errors import StateConflict
from contracts.exits import or_exit
from contracts.logs import log_as
from contracts.tracing import Tracer, tracer_of
from eventlog.contract import Batch, DeadLetter, LogReader, Topic
from flows.apply_once import ApplyOnce, ApplyTogether
from flows.catalogue_follower import CatalogueFollower
from flows.counted import open_counted_writer
from flows.erased import open_visitors_log
from flows.log_source import Cursor, LogSource
from flows.members import members_of
from flows.quiet_sink import QuietSink
from flows.serving_model import serving_sessions
from flows.session_steps import DecodedBatch, SessionPath, decode_batch
from flows.settings import FlowSettings, settings_on_whole_state
from flows.still_logged import still_logged
from session_model.window import WindowRules
from state.presence import announce
from state.read_progress import ReadProgress
from state.sessions import SessionStore
from state.shards import catalogue_reader


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow. Connections open when the first batch is asked for, in the process that runs it."""
    store = SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)
    serving = serving_sessions(settings, clock_ms)
    model = serving()
    follower = CatalogueFollower(
        catalogue_reader(settings.redis),
        model.columns,
        refresh_ms=settings.flow.catalogue_refresh_ms,
        start=model.start,
    )
    path = SessionPath(
        store=store,
        writer=open_counted_writer("sessions", settings),
        encoder=model.encoder,
        item_vectors=model.columns,
        rules=WindowRules(settings.session.max_events, settings.session.idle_gap_ms),
        clock_ms=clock_ms,
    )
    cursor = Cursor()

    def open_own_reader(partitions: Sequence[int]) -> LogReader:
        return open_visitors_log(settings, Topic.CLICKS, partitions, "sessions")

    still = still_logged(settings.log, open_own_reader)

    def decode(batch: Batch) -> DecodedBatch:
        limits = {"now_ms": clock_ms(), "max_future_ms": settings.flow.max_future_ms}
        return decode_batch(batch, **limits, types=settings.events.types)

    def refresh() -> None:
        found = serving()
        if found.columns is not follower.columns:
            follower.move_to(found.columns, found.start)
            path.switch(found.encoder, found.columns)
        follower.refresh(clock_ms())

    def apply(decoded: DecodedBatch, letters: Sequence[DeadLetter]) -> None:
        refresh()
        path.apply(decoded, letters)

    def load() -> None:
        prepare()
        follower.load()

    tracer = tracer_of("sessions", settings.tracing)

    def apply_all(batches: Sequence[DecodedBatch]) -> Sequence[StateConflict | None]:
        began_ns = time.time_ns()
        refresh()
        conflicts = path.apply_all(batches)
        if tracer is not None:
            trace_applied(tracer, [one.batch for one in batches], conflicts, began_ns)
        return conflicts

    clicks = LogSource(
        partitions=settings.log.partitions,
        open_reader=open_own_reader,
        stored_offset=lambda partition: store.progress(partition).next_offset,
        cursor=cursor,
        options=settings.flow,
        progress=ReadProgress(settings.redis, "sessions", Topic.CLICKS),
        members=members_of("sessions", settings),
        gather_s=settings.log.gather_ms / 1000,
        prepare=load,
        when_idle=follower.take_slice,
    )
    flow = Dataflow("sessions")
    readings = op.input("read_clicks", flow, clicks)
    decoded = op.map("decode_validate", readings, lambda reading: list(map(decode, reading)))
    pause_ms = settings.flow.outage_pause_ms
    once = ApplyOnce(decode, apply, cursor, clock_ms=clock_ms, pause_ms=pause_ms, still_logged=still)
    applied = op.map(
        "window_embed_commit", decoded, ApplyTogether(apply_all, once, cursor, pause_ms=pause_ms, still_logged=still)
    )
    op.output("done", applied, QuietSink())
    return flow


def trace_applied(
    tracer: Tracer, batches: Sequence[Batch], conflicts: Sequence[StateConflict | None], began_ns: int
) -> None:
    """Trace the clicks that are in their sessions now."""
    for batch, conflict in zip(batches, conflicts, strict=True):
        if conflict is None:
            offsets = [message.offset for message in batch.messages]
            tracer.applied("apply to session", batch.topic, batch.partition, offsets, began_ns)


log_as("sessions", logging.WARNING)
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, "sessions")
