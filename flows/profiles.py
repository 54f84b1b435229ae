"""The profiles flow: clicks of known users become profiles that each of their devices is answered by.

    python -m bytewax.run flows.profiles:flow

Redis is the state, as with the sessions flow: a worker may die at any step and another resumes at the stored offset.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from compiled.kernels import prepare
from contracts.clock import wall_clock_ms
from contracts.exits import or_exit
from contracts.logs import log_as
from eventlog.contract import Batch, LogReader, Topic
from flows.apply_once import ApplyOnce
from flows.counted import open_counted_writer
from flows.erased import open_visitors_log
from flows.log_source import Cursor, LogSource, stepping_back
from flows.members import members_of
from flows.profile_steps import ProfilePath, UserBatch, decode_users
from flows.quiet_sink import QuietSink
from flows.serving_model import serving_encoder
from flows.settings import FlowSettings, settings_on_whole_state
from flows.still_logged import still_logged
from flows.watched import watch_profiles
from session_model.profiles import ProfileRules
from state.presence import announce
from state.profiles import ProfileStore
from state.read_progress import ReadProgress
from state.sessions import SessionStore


def build(settings: FlowSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> Dataflow:
    """Wire the flow. Connections open when the first batch is asked for, in the process that runs it."""
    options = settings.profile
    store = ProfileStore(settings.redis, keep_ms=options.keep_ms)
    path = ProfilePath(
        store=store,
        sessions=SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms),
        writer=open_counted_writer("profiles", settings),
        encoder=serving_encoder(settings, clock_ms),
        rules=ProfileRules(options.max_events, options.half_life_ms),
        partitions=settings.log.partitions,
        clock_ms=clock_ms,
        watch=watch_profiles(settings),
    )
    cursor = Cursor()

    def open_own_reader(partitions: Sequence[int]) -> LogReader:
        return open_visitors_log(settings, Topic.CLICKS, partitions, "profiles")

    def decode(batch: Batch) -> UserBatch:
        return decode_users(
            batch, now_ms=clock_ms(), max_future_ms=settings.flow.max_future_ms, types=settings.events.types
        )

    def load() -> None:
        prepare()

    clicks = LogSource(
        partitions=settings.log.partitions,
        open_reader=open_own_reader,
        stored_offset=store.next_offset,
        cursor=cursor,
        options=settings.flow,
        progress=ReadProgress(settings.redis, "profiles", Topic.CLICKS),
        members=members_of("profiles", settings),
        step_back=stepping_back(settings, "profiles", Topic.CLICKS),
        gather_s=settings.log.gather_ms / 1000,
        prepare=load,
    )
    once = ApplyOnce(
        decode,
        path.apply,
        cursor,
        clock_ms=clock_ms,
        pause_ms=settings.flow.outage_pause_ms,
        still_logged=still_logged(settings.log, open_own_reader),
    )
    flow = Dataflow("profiles")
    readings = op.input("read_clicks", flow, clicks)
    decoded = op.map("find_users", readings, lambda reading: list(map(decode, reading)))
    applied = op.map("fold_commit", decoded, lambda batches: sum(map(once, batches)))
    op.output("done", applied, QuietSink())
    return flow


log_as("profiles", logging.WARNING)
flow = or_exit(lambda: build(settings_on_whole_state()))
announce(FlowSettings().redis, "profiles")
