"""What the application holds, by key. Each resource's own module says how it starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from gateway.ahead import ColumnsAhead
from gateway.appends import Appends
from gateway.experiments import Experiments
from gateway.lag import Lag
from gateway.live_models import LiveModels
from gateway.models import Models
from gateway.recommender import Recommender
from gateway.recording import Recorder
from gateway.scenarios import Scenarios
from gateway.secret import Secret
from gateway.settings import GatewaySettings
from gateway.shadow import Shadow
from gateway.views import Views
from rerank.kept import Keeping
from rerank.rankers import Rankers
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState
from state.campaign_ledger import CampaignLedger
from state.documents import DocumentStore
from state.refusals import RefusalStore
from state.shadow_sums import ShadowSums
from state.users import UserStore

SETTINGS = web.AppKey("settings", GatewaySettings)
APPENDS = web.AppKey("appends", Appends)
CATALOGUE = web.AppKey("catalogue", CatalogueColumns)
STATE = web.AppKey("state", ServingState)
"""The catalogue, its index, trends and ended sessions: hold TURN while reading."""
PIPELINE = web.AppKey("pipeline", Keeping)
MODELS: web.AppKey[Callable[[], Models]] = web.AppKey("models")
"""Returns the models that serve now: a snapshot of a new item tower brings others."""
LIVE_MODELS = web.AppKey("live models", LiveModels)
SHADOW = web.AppKey("shadow", Shadow)
SHADOW_SUMS = web.AppKey("sums of the shadow", ShadowSums)
"""What all gateways found of candidates in the shadow."""
RANKERS = web.AppKey("rankers", Rankers)
"""The re-rankers that scenarios name."""
SCENARIOS = web.AppKey("scenarios", Scenarios)
"""What was published, followed into this process."""
EXPERIMENTS = web.AppKey("experiments", Experiments)
"""What was published, followed into this process."""
DOCUMENTS = web.AppKey("documents", DocumentStore)
"""Where scenarios and experiments are published."""
USERS = web.AppKey("users", UserStore)
"""Where documents of users are kept."""
REFUSAL_STORE = web.AppKey("store of refusals", RefusalStore)
"""Where it is kept who refused personalisation."""
LEDGER = web.AppKey("campaign ledger", CampaignLedger)
"""Which campaigns wrote to whom."""
SECRET = web.AppKey("secret", Secret)
VIEWS = web.AppKey("views", Views)
AHEAD = web.AppKey("ahead", ColumnsAhead)
LAG = web.AppKey("lag", Lag)
RECOMMENDER = web.AppKey("recommender", Recommender)
RECORDER: web.AppKey[Recorder | None] = web.AppKey("recorder")
"""None when nothing is recorded."""
TURN: web.AppKey[asyncio.Lock] = web.AppKey("turn")
"""Held by whoever reads the columns in a thread, or changes them in place."""
CLOCK: web.AppKey[Callable[[], int]] = web.AppKey("clock")
"""Returns epoch milliseconds."""
