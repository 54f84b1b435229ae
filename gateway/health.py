"""Is this process alive, is it ready to answer, and how does it do."""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.draining import DRAINING
from gateway.feed_pages import FEED_FIGURES
from gateway.flow_lag import FLOW_LAG
from gateway.hour_figures import HOUR_FIGURES
from gateway.keys import LAG, MODELS, SETTINGS
from gateway.listeners import TOGETHER
from gateway.live_models import ranker_version
from gateway.metrics import METRICS, TEXT
from gateway.model_figures import MODEL_FIGURES
from gateway.neighbours import deployment_of
from gateway.page_headers import NOSNIFF
from gateway.problems import GatewayProblem, unavailable
from gateway.quality import QUALITY
from gateway.retrain_figures import RETRAIN_FIGURES
from gateway.sharded_replica import Followed
from gateway.tables import CATALOGUE, REPLICAS
from gateway.webhook_pages import WEBHOOK_FIGURES
from gateway.wire import json_response


class TableHealth(BaseModel):
    """One replica: has it loaded, is it following its table now, and when was the table last heard of."""

    loaded: bool
    following: bool
    age_ms: int | None


class StateHealth(BaseModel):
    """Does Redis take what the flows write: `null` while it does not answer. While it does not, the flows wait."""

    takes_writes: bool | None
    why: str | None = None


class ModelHealth(BaseModel):
    """What serves: the version of a registry, where the artifacts are one's; session model and re-ranker, `none` for
    one that is not there.
    """

    version: str | None
    session_model: str
    reranker: str


class Readiness(BaseModel):
    ready: bool
    models: ModelHealth
    tables: dict[str, TableHealth]
    state: StateHealth


class NotReady(GatewayProblem):
    tables: dict[str, TableHealth]


class Health(BaseModel):
    status: str
    deployment: str = Field(description="Alike for all processes that serve the same tables from the same log.")


async def get_healthz(request: web.Request) -> web.Response:
    """Answer as long as the event loop turns."""
    return json_response({"status": "ok", "deployment": deployment_of(request.app[SETTINGS])})


async def get_readyz(request: web.Request) -> web.Response:
    """Answer 200 once all tables are in memory, in every process that shares the port. Losing Redis later keeps it
    ready: answers go on from memory. `state` says when Redis takes no writes, so that what is appended waits. 503
    again when it is shutting down, while a catalogue that was there is gone from Redis, and while a backup is restored
    into it.
    """
    replicas = request.app[REPLICAS].values()
    tables = {replica.name: _health(replica).model_dump() for replica in replicas}
    if not all(replica.loaded for replica in replicas):
        raise unavailable("the tables that answers need are still being loaded", members={"tables": tables})
    if request.app[DRAINING].leaving:
        raise unavailable("this process is shutting down: ask another", members={"tables": tables})
    lag = request.app[LAG]
    await lag.look_at_state()
    if lag.restoring is not None:
        raise unavailable(lag.restoring, members={"tables": tables})
    if missing := request.app[TOGETHER].missing():
        count = request.app[TOGETHER].count
        detail = f"expected {count} processes to answer on this port, {missing} of them do not yet"
        raise unavailable(detail, members={"tables": tables})
    if request.app[REPLICAS][CATALOGUE.name].emptied:
        raise unavailable(
            "the catalogue is gone: Redis was emptied, or restored from older files. It is read again from the log "
            "where that still holds it; if it does not come back, load the items again",
            members={"tables": tables},
        )
    state = StateHealth(takes_writes=lag.takes_writes, why=lag.refusal).model_dump()
    models = request.app[MODELS]()
    serving = ModelHealth(
        version=models.name, session_model=models.version, reranker=ranker_version(models)
    ).model_dump()
    return json_response({"ready": True, "models": serving, "tables": tables, "state": state})


async def get_metrics(request: web.Request) -> web.Response:
    """Show this process's numbers, in Prometheus's text form."""
    app = request.app
    figures = (
        app[HOUR_FIGURES].refresh(),
        app[QUALITY].refresh(app),
        app[RETRAIN_FIGURES].refresh(),
        app[FEED_FIGURES].refresh(),
        app[WEBHOOK_FIGURES].refresh(),
        app[MODEL_FIGURES].refresh(),
        app[FLOW_LAG].refresh(app),
    )
    await asyncio.gather(app[LAG].measure(), *figures)
    return web.Response(body=app[METRICS].exposition(), headers={**NOSNIFF, "Content-Type": TEXT})


def _health(replica: Followed) -> TableHealth:
    age_ms = round(1000 * replica.age_s) if replica.loaded else None
    return TableHealth(loaded=replica.loaded, following=replica.following, age_ms=age_ms)
