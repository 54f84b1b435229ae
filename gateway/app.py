"""The application: routes, middlewares, and the resources that live as long as it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from contracts.clock import wall_clock_ms
from contracts.tracing import tracer_of
from gateway import (
    browse,
    bulk,
    campaign_pages,
    collect,
    console,
    dead_letters,
    demo_page,
    docs_page,
    erasure_pages,
    events,
    experiment_pages,
    export_pages,
    feed_pages,
    health,
    insight,
    items,
    kpi,
    live_pages,
    model_pages,
    ofrep,
    openapi,
    pages,
    quality,
    recommendations,
    scenario_pages,
    session_pages,
    system_pages,
    tag,
    user_pages,
    webhook_pages,
    why_not,
)
from gateway.asked import ASKED, Asked
from gateway.audit import audit_log, audited
from gateway.consents import CONSENTS, REFUSALS, Consents, Refusals
from gateway.cors import allow_origins, allows, hold_origins, preflights
from gateway.door import DOOR, Door, guard
from gateway.draining import DRAINING, Draining
from gateway.erasures import ERASURES, Erasures, erasures
from gateway.experiment_reports import experiment_reports
from gateway.flow_lag import FLOW_LAG, FlowLag
from gateway.held import HELD, HeldBytes
from gateway.hour_figures import HOUR_FIGURES, HourFigures
from gateway.key_table import KEYS, KeyTable
from gateway.keys import CLOCK, SETTINGS
from gateway.listeners import TOGETHER, Together
from gateway.live import live
from gateway.log_ends import ENDS, LogEnds
from gateway.metrics import METRICS, Metrics
from gateway.named import TRACER
from gateway.observe import observe
from gateway.origins import own_pages
from gateway.pace import PACE, Pace
from gateway.problems import answer_problems
from gateway.rates import RATES, Rates, hold_rates
from gateway.read_figures import ReadFigures
from gateway.resources import log_writer, recommender, recorder, replicas
from gateway.retention import retention
from gateway.retrain_figures import RETRAIN_FIGURES, retrain_figures
from gateway.room import EXTENT, Extent
from gateway.settings import GatewaySettings
from gateway.tables import FOLLOWING, following
from gateway.webhooks import expect_webhooks, webhooks
from state.feed_status import FeedStatusStore

ITEM = "/api/items/{item_id:[^/]+}"
"""An item's path. Of its own accord aiohttp takes no braces in an id."""

COLLECT = "/api/collect/{vendor}"
SCENARIO = "/api/scenarios/{scenario}"
EXPERIMENT = "/api/experiments/{experiment}"
SESSION = "/api/sessions/{session_id:[^/]+}"
USER = "/api/users/{user_id:[^/]+}"

LINGER_S = 2.0
"""How long the rest of a body that was refused is read and dropped, so that its sender reads the answer."""

ONE_AT_A_TIME = (
    dead_letters.READING,
    erasure_pages.LOOKING,
    export_pages.EXPORTING,
    insight.LOOKING,
    kpi.COUNTING,
    model_pages.CHANGING,
)
"""What one request does at a time, in a process."""


def create_app(settings: GatewaySettings, *, clock: Callable[[], int] | None = None) -> web.Application:
    """Build the gateway. `clock` returns epoch milliseconds; the system's when left out.

    Nothing connects before the application starts. Raises ArtifactError when a model is there but cannot be loaded,
    SettingsError for a webhook that may not be called.
    """
    options = settings.gateway
    expect_webhooks(settings.webhooks)
    keys = KeyTable(clock or wall_clock_ms)
    door, rates = Door(options, keys), Rates(options)
    for_pages = bool(options.cors_origins) or door.asks_keys
    allowed = allows(options.cors_origins, keys if door.asks_keys else None)
    app = web.Application(
        middlewares=[
            observe,
            *([preflights(allowed)] if for_pages else []),
            *([audited] if door.asks_keys else []),
            answer_problems,
            *([hold_rates] if rates.of_callers else []),
            *([] if door.is_open else [guard]),
            *([] if door.asks_keys else [hold_origins(allowed)]),
        ],
        client_max_size=options.max_body_bytes,
        handler_args={"auto_decompress": False, "lingering_time": LINGER_S},  # bodies: gateway.bodies
    )
    app[SETTINGS] = settings
    app[CLOCK] = clock or wall_clock_ms
    app[METRICS] = Metrics()
    app[TRACER] = tracer_of("gateway", settings.tracing)
    if app[TRACER] is not None:
        app.on_cleanup.append(_send_traces)
    _hold_figures(app)
    app[DRAINING] = Draining()
    app[ASKED] = Asked(time.monotonic())
    for turn in ONE_AT_A_TIME:
        app[turn] = asyncio.Semaphore(1)
    app[FOLLOWING] = following()
    app[ERASURES] = Erasures(settings, app[CLOCK], app[FOLLOWING].part())
    app[system_pages.LETTERS] = {}
    app[ENDS] = LogEnds()
    app[PACE] = Pace()
    app[HELD] = HeldBytes(settings.gateway.max_held_bytes)
    app[EXTENT] = Extent()
    app[RATES] = rates
    app[TOGETHER] = Together(options.port, options.together)
    app[openapi.ASKS_KEYS] = door.asks_keys
    app[KEYS], app[DOOR] = keys, door
    app[REFUSALS] = Refusals()
    app[CONSENTS] = Consents(settings.consent.rules, app[REFUSALS])
    if for_pages:
        app.on_response_prepare.append(allow_origins(allowed))
    app.add_routes(routes(demo=options.demo_page))
    app.cleanup_ctx.extend((log_writer, recorder, replicas, recommender, live, experiment_reports, retention))
    app.cleanup_ctx.extend((webhooks, erasures))
    if door.asks_keys:
        app.cleanup_ctx.append(audit_log)
    return app


def _hold_figures(app: web.Application) -> None:
    """Put what is shown on /metrics beside what requests count themselves."""
    settings, clock_ms = app[SETTINGS], app[CLOCK]
    app[HOUR_FIGURES] = HourFigures(settings.redis, clock_ms)
    app[quality.QUALITY] = quality.Quality()
    app[RETRAIN_FIGURES] = retrain_figures(settings.redis)
    app[feed_pages.FEEDS] = FeedStatusStore(settings.redis)
    app[feed_pages.FEED_FIGURES] = ReadFigures(app[feed_pages.FEEDS].read, feed_pages.figures)
    app[webhook_pages.QUEUE] = queue = webhook_pages.LookedQueue(settings.redis, clock_ms)
    app[webhook_pages.WEBHOOK_FIGURES] = webhook_pages.webhook_figures(queue, settings.webhooks, clock_ms)
    app[FLOW_LAG] = FlowLag()
    shown = (
        app[HOUR_FIGURES],
        app[quality.QUALITY],
        app[RETRAIN_FIGURES],
        app[feed_pages.FEED_FIGURES],
        app[webhook_pages.WEBHOOK_FIGURES],
        app[FLOW_LAG],
    )
    app[METRICS].others.extend(one.collect for one in shown)


async def _send_traces(app: web.Application) -> None:
    if (tracer := app[TRACER]) is not None:
        await asyncio.to_thread(tracer.close)


def routes(*, demo: bool) -> list[web.RouteDef]:
    """Return every endpoint."""
    served = [
        web.post("/api/events", events.post_events),
        web.post(COLLECT, collect.post_collect),
        web.post("/api/recommendations/{scenario}", recommendations.post_recommendations),
        web.post("/api/pages", pages.post_pages),
        web.post("/api/campaigns/check", own_pages(campaign_pages.post_check)),
        web.post("/ofrep/v1/evaluate/flags", ofrep.post_flags),
        web.post("/ofrep/v1/evaluate/flags/{key}", ofrep.post_flag),
        web.get("/api/scenarios", scenario_pages.get_scenarios, allow_head=False),
        web.get(SCENARIO, scenario_pages.get_scenario, allow_head=False),
        web.put(SCENARIO, own_pages(scenario_pages.put_scenario)),
        web.delete(SCENARIO, own_pages(scenario_pages.delete_scenario)),
        web.get(f"{SCENARIO}/versions", scenario_pages.get_versions, allow_head=False),
        web.post(f"{SCENARIO}/rollback", own_pages(scenario_pages.post_rollback)),
        web.post(f"{SCENARIO}/preview", own_pages(scenario_pages.post_preview)),
        web.post(f"{SCENARIO}/why-not", own_pages(why_not.post_why_not)),
        web.get("/api/experiments", experiment_pages.get_experiments, allow_head=False),
        web.get(EXPERIMENT, experiment_pages.get_experiment, allow_head=False),
        web.put(EXPERIMENT, own_pages(experiment_pages.put_experiment)),
        web.delete(EXPERIMENT, own_pages(experiment_pages.delete_experiment)),
        web.get(f"{EXPERIMENT}/versions", experiment_pages.get_versions, allow_head=False),
        web.post(f"{EXPERIMENT}/rollback", own_pages(experiment_pages.post_rollback)),
        web.post(f"{EXPERIMENT}/stop", own_pages(experiment_pages.post_stop)),
        web.post(f"{EXPERIMENT}/promote", own_pages(experiment_pages.post_promote)),
        web.get("/api/items", browse.get_items, allow_head=False),
        web.post("/api/items", own_pages(bulk.post_items)),
        web.get(ITEM, browse.get_item, allow_head=False),
        web.get(f"{ITEM}/insight", insight.get_insight, allow_head=False),
        web.put(ITEM, own_pages(items.put_item)),
        web.patch(ITEM, own_pages(items.patch_item)),
        web.delete(ITEM, own_pages(items.delete_item)),
        web.post("/api/stock", own_pages(items.post_stock)),
        web.get("/api/sessions", session_pages.get_sessions, allow_head=False),
        web.get(SESSION, session_pages.get_session, allow_head=False),
        web.delete(SESSION, own_pages(erasure_pages.delete_session)),
        web.get("/api/erasures/{erasure_id}", erasure_pages.get_erasure, allow_head=False),
        web.get(USER, user_pages.get_user, allow_head=False),
        web.put(USER, own_pages(user_pages.put_user)),
        web.patch(USER, own_pages(user_pages.patch_user)),
        web.delete(USER, own_pages(erasure_pages.delete_user)),
        web.get(f"{USER}/export", export_pages.get_export, allow_head=False),
        web.get(f"{USER}/consent", user_pages.get_consent, allow_head=False),
        web.put(f"{USER}/consent", own_pages(user_pages.put_consent)),
        web.post(f"{USER}/do-not-show", user_pages.post_do_not_show),
        web.delete(f"{USER}/do-not-show", user_pages.delete_do_not_show),
        web.get("/api/dead-letters", dead_letters.get_dead_letters, allow_head=False),
        web.get("/api/kpi", kpi.get_kpi, allow_head=False),
        web.get("/api/quality", quality.get_quality, allow_head=False),
        web.get("/api/live", live_pages.get_live, allow_head=False),
        web.get("/api/system", system_pages.get_system, allow_head=False),
        web.get("/api/feeds", feed_pages.get_feeds, allow_head=False),
        web.get("/api/webhooks", webhook_pages.get_webhooks, allow_head=False),
        web.get("/api/models", model_pages.get_models, allow_head=False),
        web.post("/api/models/{version}/publish", own_pages(model_pages.post_publish)),
        web.post("/api/models/rollback", own_pages(model_pages.post_rollback)),
        web.post("/api/models/pin", own_pages(model_pages.post_pin)),
        web.get("/healthz", health.get_healthz),
        web.get("/readyz", health.get_readyz),
        web.get("/metrics", health.get_metrics),
        web.get("/openapi.json", openapi.get_openapi),
        web.get("/console", console.get_console),
        web.get("/console/{name}", console.get_console_file),
        web.get("/console/{name}/{one:.*}", console.get_console_one),
        web.get("/nextclick.js", tag.get_tag),
        web.get("/nextclick-{hash}.js", tag.get_tag_of_hash),
        web.get("/docs", docs_page.get_docs),
        web.get("/docs/{name}", docs_page.get_docs_file),
    ]
    if demo:
        served += [web.get("/", demo_page.get_shop), web.get("/demo/{name}", demo_page.get_shop_file)]
    return served
