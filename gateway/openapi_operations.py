"""Paths of operations in the OpenAPI document: live numbers, the system, feeds, webhooks, versions of the models."""

from __future__ import annotations

from typing import Any, Final

from contracts.feed_status import FeedFault, FeedPull, FeedStatus
from gateway.feed_pages import FeedsAnswer
from gateway.live_pages import Freshness, LastHour, LiveAnswer, LivePoint, LiveStage
from gateway.model_bodies import ModelChange, ModelDecision, ModelFacts, ModelPin, ModelsAnswer, ShadowFacts
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, query, ref
from gateway.system_pages import FlowLag, LetterCounts, RedisFacts, SystemAnswer, SystemProcess
from gateway.webhook_pages import WebhookCounts, WebhookFailure, WebhookQueue, WebhooksAnswer, WebhookSettings

MODELS: Final = (
    *(LiveAnswer, LivePoint, LiveStage, Freshness, LastHour),
    *(SystemAnswer, SystemProcess, FlowLag, RedisFacts, LetterCounts),
    *(FeedsAnswer, FeedStatus, FeedPull, FeedFault),
    *(WebhooksAnswer, WebhookSettings, WebhookQueue, WebhookCounts, WebhookFailure),
    *(ModelsAnswer, ModelFacts, ShadowFacts, ModelChange, ModelDecision, ModelPin),
)
_TAG: Final = "operations"
_REGISTRY: Final = "404 where the gateway serves from no registry of models, 409 where it cannot be as things stand."


def operations_paths() -> Json:
    """Return the paths of operations."""
    version = path_parameter("version", {"type": "string", "maxLength": 60})
    return {
        "/api/live": {"get": _live()},
        "/api/system": {"get": _system()},
        "/api/feeds": {"get": _feeds()},
        "/api/webhooks": {"get": _webhooks()},
        "/api/models": {
            "get": operation(
                "Show the versions of the models",
                _TAG,
                {200: json_of(ModelsAnswer)} | problems(404, 409, 503),
                description=f"Versions of the registry, and who made which serve. {_REGISTRY}",
            )
        },
        "/api/models/{version}/publish": {
            "post": _change("Let a version serve", ModelDecision, ModelChange, parameters=[version])
        },
        "/api/models/rollback": {
            "post": _change("Let the version serve that served before", ModelDecision, ModelChange)
        },
        "/api/models/pin": {"post": _change("Let nothing replace a version, or let it again", ModelPin, ModelsAnswer)},
    }


def _live() -> Json:
    since = query("since_ms", {"type": "integer", "minimum": 0}, "Points from then on; five minutes at most.")
    about = (
        "Rates, times by stage, what was left out and how far sessions are behind, of all gateway processes of the "
        "deployment together. They count by the second while somebody asks, so the first answer has no points."
    )
    answers = {200: json_of(LiveAnswer)} | problems(422, 503)
    return operation("Show what happens now", _TAG, answers, description=about, parameters=[since])


def _system() -> Json:
    about = "Processes, flows, Redis, the index, the log and dead letters. What cannot be asked now is null."
    return operation("Show how it all does", _TAG, {200: json_of(SystemAnswer)}, description=about)


def _feeds() -> Json:
    about = "As whoever pulls them (`nextclick up`, `nextclick feed run`) told last. Secrets of addresses are masked."
    return operation("Show the feeds", _TAG, {200: json_of(FeedsAnswer)} | problems(503), description=about)


def _webhooks() -> Json:
    about = "What is set, what waits, and what became of calls to the shop's server. Secrets are counted, never shown."
    answers = {200: json_of(WebhooksAnswer)} | problems(503)
    return operation("Show the webhooks", _TAG, answers, description=about)


def _change(summary: str, body: Any, answer: Any, **more: Any) -> Json:
    answers = {200: json_of(answer)} | problems(400, 403, 404, 408, 409, 413, 415, 422, 503)
    content = body_of({"application/json": {"schema": ref(body)}})
    return operation(summary, _TAG, answers, description=_REGISTRY, requestBody=content, **more)
