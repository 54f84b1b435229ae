"""What lives as long as the application: each context starts one resource and stops it, in reverse order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import metadata
from time import monotonic
from typing import Any

from aiohttp import web

from contracts.keys import SCENARIOS as SCENARIOS_TABLE
from eventlog.open_log import open_async_writer
from eventlog.redis_size import RedisLogSize
from gateway import tables
from gateway.ahead import ColumnsAhead, keep_made
from gateway.answer_records import AnswerKeeper
from gateway.appends import Appends, watch, watch_line
from gateway.background import kept_running, running
from gateway.bandits import follow_shares
from gateway.capsules import CAPSULES, Capsules
from gateway.consents import CONSENTS, REFUSALS
from gateway.door import DOOR
from gateway.experiments import Decisions, Experiments
from gateway.key_table import KEYS
from gateway.keys import (
    AHEAD,
    APPENDS,
    CATALOGUE,
    CLOCK,
    DOCUMENTS,
    EXPERIMENTS,
    LAG,
    LEDGER,
    LIVE_MODELS,
    MODELS,
    PIPELINE,
    RANKERS,
    RECOMMENDER,
    RECORDER,
    REFUSAL_STORE,
    SCENARIOS,
    SECRET,
    SETTINGS,
    SHADOW,
    SHADOW_SUMS,
    STATE,
    TURN,
    USERS,
    VIEWS,
)
from gateway.lag import MEASURE_S, Lag
from gateway.live_index import LiveIndex, watch_index
from gateway.live_models import LiveModels, ranker_version
from gateway.metrics import METRICS
from gateway.model_figures import MODEL_FIGURES, ModelFigures, Serving
from gateway.models import Models, load_models
from gateway.preparing import WAIT_SHARE
from gateway.recommender import Recommender
from gateway.recording import Recorder
from gateway.replica import Refused
from gateway.replicas import (
    into_dead_letters,
    keep_index_built,
    watch_replica,
)
from gateway.scenarios import Scenarios
from gateway.secret import Secret
from gateway.shadow import Shadow, watch_shadow
from gateway.shown import ShownPages
from gateway.tables import FOLLOWING, REPLICAS, Columns, replicas_of
from gateway.views import Views
from rerank.kept import Keeping
from rerank.rankers import Rankers
from retrieval.serving_state import ServingState
from retrieval.trend_columns import TrendColumns
from retrieval.trends import TrendRules
from state.bandit_shares import SharesReader
from state.campaign_ledger import CampaignLedger
from state.documents import DocumentStore
from state.exposures import Exposures
from state.read_progress import StateWatch
from state.refusals import RefusalStore
from state.sessions import SessionReader
from state.shadow_sums import ShadowSums
from state.users import UserStore

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
    """The models, and the followed tables in memory with what ranks over them."""
    settings, metrics = app[SETTINGS], app[METRICS]
    models = load_models(settings.artifacts)
    rankers = app[RANKERS] = Rankers(settings.artifacts, monotonic)
    turn = app[TURN] = asyncio.Lock()
    live = LiveIndex(settings, models, turn)
    app[MODELS] = lambda: live.models
    state = ServingState(live.columns, live.index, TrendColumns(TrendRules.of(settings.trend)))
    scenarios = app[SCENARIOS] = Scenarios()
    experiments = app[EXPERIMENTS] = Experiments(scenarios)
    _open_documents(app)
    columns = Columns(settings, live, state, Decisions(scenarios, experiments), app[KEYS], app[REFUSALS])
    followed_tables = tables.tables_of(settings.gateway)

    def refused(table: str) -> Refused:
        return into_dead_letters(table, app[APPENDS].dead_letters, app[CLOCK])

    followed = app[REPLICAS] = replicas_of(columns, followed_tables, settings.redis, refused, turn, app[FOLLOWING])
    if tables.API_KEYS.name in followed:
        app[DOOR].loaded = lambda: followed[tables.API_KEYS.name].loaded
    catalogue = followed[tables.CATALOGUE.name]
    live.taken = lambda: tuple(one.number for one in catalogue.shards) if catalogue.following else None
    app[CATALOGUE], app[STATE] = state.catalogue, state
    ahead = app[AHEAD] = ColumnsAhead(state.catalogue, turn)

    def loaded() -> bool:
        return all(followed[table.name].loaded for table in (tables.CATALOGUE, tables.SCENARIOS))

    def pipeline(models: Models) -> Keeping:
        return Keeping(state, models.encoder, models.ranker, settings.pipeline, rankers=rankers.named)

    def switch(models: Models) -> None:
        rankers.forget()
        app[RECOMMENDER].ranking.switch(models, pipeline(models))

    app[PIPELINE] = pipeline(models)
    following, shadow = _published_models(app, live, switch, pipeline)
    for table in followed_tables:
        watch_replica(followed[table.name], table.count(columns), metrics)
    watch_index(live, metrics, app[CLOCK])
    shares = SharesReader(settings.redis)
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        **{f"table {one.name}": one.run for replica in followed.values() for one in replica.shards},
        "building the index": lambda: keep_index_built(state.index, turn),
        "following snapshots": lambda: live.follow_snapshots(followed[tables.CATALOGUE.name], switch),
        "following models": following.follow,
        "following the shadow": shadow.follow,
        "the shadow": shadow.run,
        "watching the index": live.watch,
        "shares of bandits": lambda: follow_shares(experiments, shares, app[CLOCK]),
        "columns of scenarios": lambda: keep_made(ahead, state.catalogue, scenarios, app[CLOCK], loaded),
    }
    async with running(*(kept_running(name, run, metrics.restarts) for name, run in parts.items())):
        yield
    live.close()
    for replica in followed.values():
        await replica.close()
    await shadow.tell()
    app[SHADOW_SUMS].close()
    await shares.close()
    app[DOCUMENTS].close()
    app[USERS].close()
    app[REFUSAL_STORE].close()


def _open_documents(app: web.Application) -> None:
    settings = app[SETTINGS]
    app[DOCUMENTS] = DocumentStore(settings.redis, SCENARIOS_TABLE)
    app[USERS] = UserStore(settings.redis, partitions=settings.log.partitions, bounds=settings.users)
    app[REFUSAL_STORE] = RefusalStore(settings.redis)
    about = "Writes of users' documents that were refused, as there is no room for them."
    app[METRICS].total("users_refused", about, {}, lambda: float(app[USERS].refused))


def _published_models(
    app: web.Application, live: LiveIndex, switch: Callable[[Models], None], pipeline: Callable[[Models], Keeping]
) -> tuple[LiveModels, Shadow]:
    """Return what takes up models that are published, and what has a candidate answer beside them."""
    settings, metrics = app[SETTINGS], app[METRICS]
    artifacts, every_s = settings.artifacts, settings.index.check.total_seconds()
    following = app[LIVE_MODELS] = LiveModels(artifacts, live, switch, every_s)
    metrics.total("model_swaps", "Re-rankers taken up while serving.", {}, lambda: following.swaps)
    metrics.total("models_refused", "Models that could not be loaded.", {}, lambda: following.refused)

    def serving() -> Serving:
        return Serving(live.models.name, live.models.version, ranker_version(live.models))

    app[MODEL_FIGURES] = ModelFigures(artifacts, serving)
    metrics.others.append(app[MODEL_FIGURES].collect)
    sums = app[SHADOW_SUMS] = ShadowSums(settings.redis)
    shadow = app[SHADOW] = Shadow(
        artifacts, serving=app[MODELS], pipeline=pipeline, turn=app[TURN], sums=sums, every_s=every_s
    )
    watch_shadow(shadow, metrics)
    return following, shadow


async def recommender(app: web.Application) -> AsyncIterator[None]:
    """What answers questions; on the way out, those that were taken are answered."""
    settings, metrics, options = app[SETTINGS], app[METRICS], app[SETTINGS].gateway
    within_s = WAIT_SHARE * options.deadline_ms / 1000
    reader = SessionReader(settings.redis, partitions=settings.log.partitions, within_s=within_s)
    views = Views(reader, max_waiting=options.max_waiting)
    app[VIEWS] = views
    watch = StateWatch(settings.redis, within_s=MEASURE_S)
    size = RedisLogSize(settings.log, settings.redis) if settings.log.kind == "redis" else None
    app[LAG] = Lag(app[APPENDS], reader, app[REPLICAS].values(), watch, size)
    app[LAG].show(metrics)
    secret = app[SECRET] = Secret(settings.redis)
    capsules = Capsules(settings.capsule, secret, settings.redis.prefix, settings.session.idle_gap_ms)
    app[CAPSULES] = capsules
    ledger = app[LEDGER] = CampaignLedger(settings.redis, partitions=settings.log.partitions, within_s=within_s)
    keeper = _keeper(app)
    kept_s = int(settings.retention.shown.total_seconds())
    exposures = Exposures(settings.redis, partitions=settings.log.partitions, within_s=within_s, kept_s=kept_s)
    app[RECOMMENDER] = Recommender(
        settings,
        pipeline=app[PIPELINE],
        columns=app[CATALOGUE],
        catalogue=app[REPLICAS][tables.CATALOGUE.name],
        scenarios=app[REPLICAS][tables.SCENARIOS.name],
        experiments=app[EXPERIMENTS],
        views=views,
        ahead=app[AHEAD],
        shown=ShownPages(exposures, options.caps, app[CLOCK]),
        secret=secret,
        models=app[MODELS](),
        keeper=keeper,
        consents=app[CONSENTS],
        capsules=capsules,
        appends=app[APPENDS],
        metrics=metrics,
        turn=app[TURN],
        clock=app[CLOCK],
    )
    ranking = app[RECOMMENDER].ranking
    metrics.others.append(ranking.drift_metrics)
    app[RECOMMENDER].shadow, app[SHADOW].busy = app[SHADOW], lambda: ranking.waiting > 0
    async with running(kept_running("learning the secret", secret.learn, metrics.restarts)):
        yield
    await app[RECOMMENDER].close()
    await ledger.close()
    if keeper is not None:
        await keeper.close(options.drain_s)
    await app[LAG].close()


def _keeper(app: web.Application) -> AnswerKeeper | None:
    """Return what keeps answers, with what makes them; None where none are kept."""
    settings = app[SETTINGS]
    if not settings.answers.to:
        return None
    pipeline, code = settings.pipeline.model_dump(mode="json"), metadata.version("nextclick")

    def about() -> dict[str, Any]:
        models = app[MODELS]()
        served = {"session_model": models.version, "reranker": ranker_version(models), "version": models.name}
        return {"models": served, "code_version": code, "pipeline": pipeline}

    keeper = AnswerKeeper(settings.answers, about, clock=app[CLOCK])
    watch_line("kept answers", keeper.line, app[METRICS])
    return keeper
