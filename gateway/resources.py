"""What lives as long as the application: each context starts one resource and stops it, in reverse order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from contracts.keys import CATALOGUE as CATALOGUE_TABLE
from contracts.keys import ENDED as ENDED_TABLE
from contracts.keys import TRENDS as TRENDS_TABLE
from eventlog.open_log import open_async_writer
from gateway.appends import Appends, watch, watch_line
from gateway.background import kept_running, running
from gateway.keys import (
    APPENDS,
    CATALOGUE,
    CATALOGUE_REPLICA,
    CLOCK,
    ENDED_REPLICA,
    LAG,
    MODELS,
    PIPELINE,
    RECOMMENDER,
    RECORDER,
    SETTINGS,
    TRENDS_REPLICA,
)
from gateway.lag import Lag, watch_lag
from gateway.live_index import LiveIndex, watch_index
from gateway.metrics import METRICS
from gateway.models import Models, load_models
from gateway.recommender import Recommender
from gateway.recording import Recorder
from gateway.replica import Refused, Replica
from gateway.replicas import (
    into_dead_letters,
    into_sessions,
    into_trends,
    keep_index_built,
    keys_of,
    watch_replica,
)
from gateway.views import Views
from rerank.pipeline import Pipeline
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules
from state.sessions import SessionReader
from state.tables import AsyncTableReader

log = logging.getLogger("nextclick.gateway")

RECORD_TICK_S = 1.0


async def log_writer(app: web.Application) -> AsyncIterator[None]:
    """The way into the log; on the way out, what was taken is written."""
    settings = app[SETTINGS]
    options = settings.gateway
    app[APPENDS] = Appends(
        open_async_writer(settings.log, settings.redis),
        max_waiting=options.max_waiting_events,
        max_impressions=options.max_waiting_impressions,
    )
    watch(app[APPENDS], app[METRICS])
    yield
    await app[APPENDS].close(options.drain_s)


async def recorder(app: web.Application) -> AsyncIterator[None]:
    """What is recorded, if anything; on the way out, files are finished."""
    settings = app[SETTINGS]
    if not settings.record.to:
        app[RECORDER] = None
        yield
        return
    recording = app[RECORDER] = Recorder(settings.record, clock=app[CLOCK])
    recording.start()
    watch_line("recorded", recording.line, app[METRICS])
    async with running(kept_running("recorder", lambda: _ticks(recording), app[METRICS].restarts)):
        yield
    await recording.close(settings.gateway.drain_s)


async def _ticks(recording: Recorder) -> None:
    while True:
        await asyncio.sleep(RECORD_TICK_S)
        await recording.tick()


async def replicas(app: web.Application) -> AsyncIterator[None]:
    """The models, and the catalogue and the trends in memory with what ranks over them."""
    settings, metrics = app[SETTINGS], app[METRICS]
    models = load_models(settings.artifacts)
    live = LiveIndex(settings, models)
    app[MODELS] = lambda: live.models
    columns, index = live.columns, live.index
    trends, ended = TrendColumns(TrendRules.of(settings.trend)), SessionColumns()
    catalogue_reader = AsyncTableReader(settings.redis, CATALOGUE_TABLE)
    trends_reader = AsyncTableReader(settings.redis, TRENDS_TABLE)
    ended_reader = AsyncTableReader(settings.redis, ENDED_TABLE)

    def refused(table: str) -> Refused:
        return into_dead_letters(table, app[APPENDS].dead_letters, app[CLOCK])

    catalogue = Replica(
        "catalogue", catalogue_reader, live.take, keys_of(columns), live.start, refused(CATALOGUE_TABLE)
    )
    trending = Replica("trends", trends_reader, into_trends(trends), trends.held, refused=refused(TRENDS_TABLE))
    slots = settings.trend.sessions
    over = Replica("ended", ended_reader, into_sessions(ended, slots), ended.slots, refused=refused(ENDED_TABLE))
    app[CATALOGUE], app[CATALOGUE_REPLICA], app[TRENDS_REPLICA], app[ENDED_REPLICA] = columns, catalogue, trending, over

    def pipeline(models: Models) -> Pipeline:
        return Pipeline(columns, index, trends, models.encoder, models.ranker, settings.pipeline, ended=ended)

    def switch(models: Models) -> None:
        app[RECOMMENDER].switch(models, pipeline(models))

    app[PIPELINE] = pipeline(models)
    watch_replica(catalogue, columns.__len__, metrics)
    watch_replica(trending, trends.__len__, metrics)
    watch_replica(over, ended.__len__, metrics)
    watch_index(live, metrics, app[CLOCK])
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        **{f"table {replica.name}": replica.run for replica in (catalogue, trending, over)},
        "building the index": lambda: keep_index_built(index),
        "following snapshots": lambda: live.follow_snapshots(catalogue, switch),
        "watching the index": live.watch,
    }
    async with running(*(kept_running(name, run, metrics.restarts) for name, run in parts.items())):
        yield
    await catalogue_reader.close()
    await trends_reader.close()
    await ended_reader.close()


async def recommender(app: web.Application) -> AsyncIterator[None]:
    """What answers questions; on the way out, those that were taken are answered."""
    settings, metrics, options = app[SETTINGS], app[METRICS], app[SETTINGS].gateway
    reader = SessionReader(settings.redis, partitions=settings.log.partitions)
    views = Views(reader, metrics, timeout_s=options.deadline_ms / 1000, max_waiting=options.max_waiting)
    app[LAG] = Lag(app[APPENDS], reader, (app[CATALOGUE_REPLICA], app[TRENDS_REPLICA], app[ENDED_REPLICA]))
    watch_lag(app[LAG], metrics)
    app[RECOMMENDER] = Recommender(
        settings,
        pipeline=app[PIPELINE],
        columns=app[CATALOGUE],
        catalogue=app[CATALOGUE_REPLICA],
        views=views,
        models=app[MODELS](),
        appends=app[APPENDS],
        metrics=metrics,
        clock=app[CLOCK],
    )
    yield
    await app[RECOMMENDER].close()
