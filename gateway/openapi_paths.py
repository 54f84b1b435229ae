"""What each endpoint takes and answers, with examples: the paths of the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel

from contracts.api import (
    CatalogueAnswer,
    EventsAnswer,
    Placement,
    ProfileSummary,
    Recommendation,
    RecommendationAnswer,
    RecommendationRequest,
    RejectedEvent,
    ScenarioName,
    SessionSummary,
    StockUpdate,
)
from contracts.events import Event
from contracts.items import Item
from contracts.scenarios import NAME_PATTERN
from gateway.browse import CatalogueItem, ItemsAnswer
from gateway.bulk import BulkProblem, ItemLine
from gateway.dead_letters import LettersAnswer, ShownLetter
from gateway.health import Health, NotReady, Readiness
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, query, ref, text_of
from gateway.problems import GatewayProblem

MODELS: tuple[type[BaseModel], ...] = (
    *(
        Event,
        EventsAnswer,
        RejectedEvent,
        RecommendationRequest,
        RecommendationAnswer,
        Recommendation,
        SessionSummary,
        ProfileSummary,
        ScenarioName,
    ),
    *(Item, ItemLine, StockUpdate, CatalogueAnswer, CatalogueItem, ItemsAnswer),
    *(LettersAnswer, ShownLetter),
    *(Health, Readiness, NotReady, GatewayProblem, BulkProblem),
)

EVENT: Json = {
    "v": 1,
    "event_id": "e-71a6",
    "type": "view",
    "session_id": "s-42",
    "item_id": "sku-7",
    "ts": 1767225600000,
    "context": {"device": "mobile"},
}
ITEM: Json = {
    "title": "Trail shoe",
    "category": "shoes/running/trail",
    "brand": "Fell",
    "price": 129.0,
    "margin": 0.35,
    "stock": 12,
    "regions": ["eu"],
    "attributes": {"colour": "moss"},
}
QUESTION: Json = {
    "session_id": "s-42",
    "item_id": "sku-7",
    "limit": 3,
    "context": {"region": "eu", "age": 34},
    "exclude": ["sku-9"],
    "after": "p3:88121",
}
SHOWN: Json = {
    "item_id": "sku-8",
    "product_id": "sku-8",
    "score": 1.73,
    "reason": 'often viewed with "Trail shoe"',
    "position": 1,
}
ANSWER: Json = {
    "request_id": "5f0c3a6a4be14f0d9a52a5c5d7a5b1ce",
    "recommendations": [SHOWN],
    "scenario": {"name": "homepage", "version": 0},
    "model_version": "9f2c1a0b7d3e4455",
    "experiment_id": None,
    "variant": None,
    "propensity": None,
    "session": {"events": 3, "age_ms": 412},
    "cold_start": "session",
    "degraded": [],
    "timings_us": {"session_view": 310, "session_vector": 40, "retrieve": 420, "rerank": 250, "total": 1180},
    "dropped": {"out_of_stock": 2, "seen": 3},
}
TAKEN = {"accepted": 1, "rejected": [], "token": "p3:88121"}
LETTER: Json = {
    "id": "p3:17",
    "source": "gateway",
    "partition": 3,
    "reason": "invalid",
    "detail": "event: Value error, a view event needs an 'item_id'",
    "at_ms": 1767225600000,
    "bytes": 84,
    "record": '{"v":1,"event_id":"e-71a6","type":"view","session_id":"s-42","ts":1767225600000}',
}
WRITTEN = {"accepted": 2, "rejected": [], "visible": True}


def paths() -> Json:
    """Return the `paths` of the document."""
    return {
        "/api/events": {"post": _events()},
        "/api/recommendations/{scenario}": {"post": _recommendations()},
        "/api/items": {"get": _list_items(), "post": _bulk()},
        "/api/items/{item_id}": {
            "get": _get_item(),
            "put": _put_item(),
            "patch": _patch_item(),
            "delete": _delete_item(),
        },
        "/api/stock": {"post": _stock()},
        "/api/dead-letters": {"get": _dead_letters()},
        "/healthz": {"get": operation("Is the process alive", "health", {200: json_of(Health)})},
        "/readyz": {"get": _readyz()},
        "/metrics": {"get": operation("Prometheus metrics of this process", "health", {200: text_of("text/plain")})},
        "/openapi.json": {"get": operation("This document", "document", {200: text_of("application/json", "object")})},
        "/nextclick.js": {
            "get": operation("The browser tag (docs/tag.md)", "document", {200: text_of("text/javascript")})
        },
        "/docs": {"get": operation("A page that shows it", "document", {200: text_of("text/html")})},
        "/console": {"get": operation("Pages for those who run the shop", "document", {200: text_of("text/html")})},
    }


def _events() -> Json:
    schema = {"oneOf": [ref(Event), {"type": "array", "items": ref(Event)}]}
    body = {"schema": schema, "examples": {"one": {"value": EVENT}, "several": {"value": [EVENT]}}}
    about = (
        "One event or an array. Answered once they are durably in the log. Broken events are named by their index and "
        "kept as dead letters; the others are taken. `token` is the position of the last click of the body: a session "
        "is one partition, so `after` that token waits for all clicks of its session that were in the body. "
        "text/plain is for `navigator.sendBeacon`. Clicks and impressions are counted once per `event_id`."
    )
    return operation(
        "Send events",
        "events",
        {202: json_of(EventsAnswer, TAKEN, "Taken.")} | problems(400, 408, 413, 415, 422, 503),
        description=about,
        requestBody=body_of({"application/json": body, "text/plain": body}),
    )


def _recommendations() -> Json:
    about = (
        "The scenario is one that was published, or a placement: " + ", ".join(Placement) + ". "
        "Answers within the deadline whatever happens: `degraded` names what was left out (`session_unavailable`, "
        "`catalogue_behind`, a missing model, a rung of the ranking), `stale` is true when `after` was not applied in "
        "time. `recent_events` are folded in for this answer and stored nowhere. What was shown is written to the "
        "impressions log in the background; under overload it is dropped and counted."
    )
    content = {"schema": ref(RecommendationRequest), "example": QUESTION}
    return operation(
        "Ask for recommendations",
        "recommendations",
        {200: json_of(RecommendationAnswer, ANSWER)} | problems(400, 404, 408, 409, 413, 415, 422, 503),
        description=about,
        parameters=[path_parameter("scenario", {"type": "string", "pattern": NAME_PATTERN})],
        requestBody=body_of({"application/json": content}),
    )


def _list_items() -> Json:
    parameters = [
        query("ids", {"type": "string"}, "Item ids, separated by commas."),
        query("id", {"type": "array", "items": {"type": "string"}}, "One item id, whole: repeat it for several."),
        query("category", {"type": "string"}, "A category path; what is below it counts."),
        query(
            "filter",
            {"type": "string", "minLength": 1, "maxLength": 1000, "example": "price < 50"},
            "A condition over fields of the item and `clock`, as scenarios have them. Not together with ids.",
        ),
        query(
            "cursor",
            {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "The `cursor` of the page before, to the same `filter` and `category`.",
        ),
        query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}, "How many, at most."),
    ]
    about = (
        "Items in the order of `ids`; else spread evenly over the catalogue, or over `category`. Under a `filter`, a "
        "page of all that it keeps, in an order that stays: `cursor` brings what follows, until an answer has none. A "
        "page may be short, or empty, where few items match: what one page looks at is bounded."
    )
    answers = {200: json_of(ItemsAnswer)} | problems(422)
    return operation("Show items of the catalogue", "catalogue", answers, description=about, parameters=parameters)


def _get_item() -> Json:
    answers = {200: json_of(CatalogueItem, {"item_id": "sku-7", **ITEM})} | problems(404, 422)
    return operation("Show one item", "catalogue", answers, parameters=[_ITEM_ID])


def _put_item() -> Json:
    return operation(
        "Create or replace an item",
        "catalogue",
        {202: json_of(CatalogueAnswer, WRITTEN, "Taken.")} | problems(400, 403, 408, 413, 415, 422, 503, 507),
        description="Fields of your own are kept, whatever their names. The path names the item: an `item_id` in the "
        "body may only repeat it. " + VISIBLE,
        parameters=[_ITEM_ID],
        requestBody=body_of({"application/json": {"schema": ref(Item), "example": ITEM}}),
    )


def _patch_item() -> Json:
    content = {"schema": {"type": "object"}, "example": {"price": 99.0, "attributes": {"colour": None}}}
    return operation(
        "Change fields of an item",
        "catalogue",
        {202: json_of(CatalogueAnswer, WRITTEN, "Taken.")} | problems(400, 403, 404, 408, 413, 415, 422, 503),
        description="A JSON merge patch (RFC 7396): named fields are replaced, `null` takes one away, all others stay. "
        + VISIBLE,
        parameters=[_ITEM_ID],
        requestBody=body_of({"application/merge-patch+json": content, "application/json": content}),
    )


def _delete_item() -> Json:
    answers = {202: json_of(CatalogueAnswer, WRITTEN, "Taken.")} | problems(403, 422, 503)
    return operation("Remove an item", "catalogue", answers, description=VISIBLE, parameters=[_ITEM_ID])


def _bulk() -> Json:
    return operation(
        "Load many items",
        "catalogue",
        {202: json_of(CatalogueAnswer, WRITTEN, "Taken.")}
        | problems(403, 415)
        | problems(400, 408, 413, 422, 503, 507, model=BulkProblem),
        description="One item a line (newline-delimited JSON), at most `gateway.max_bulk_lines` lines and "
        "`gateway.max_bulk_bytes` bytes. " + VISIBLE,
        requestBody=body_of(
            {"application/x-ndjson": {"schema": ref(ItemLine), "example": {"item_id": "sku-7", **ITEM}}}
        ),
    )


def _stock() -> Json:
    content = {
        "schema": {"type": "array", "items": ref(StockUpdate)},
        "example": [{"item_id": "sku-7", "stock": 0}],
    }
    return operation(
        "Set stock",
        "catalogue",
        {202: json_of(CatalogueAnswer, WRITTEN, "Taken.")} | problems(400, 403, 408, 413, 415, 422, 503),
        description=VISIBLE + " Once it is, no process recommends an item whose stock is 0.",
        requestBody=body_of({"application/json": content}),
    )


def _dead_letters() -> Json:
    parameters = [
        query("reason", {"type": "string"}, "Reasons, separated by commas."),
        query("partition", {"type": "integer", "minimum": 0}, "A partition of the log."),
        query("since_ms", {"type": "integer", "minimum": 0}, "Written at or after, epoch milliseconds."),
        query("until_ms", {"type": "integer", "minimum": 0}, "Written before, epoch milliseconds."),
        query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "How many, at most."),
    ]
    about = (
        "What could not be taken, newest first, each with the reason. Where no keys are asked it is answered only to "
        "the gateway's own machine: a loopback address, not forwarded. `nextclick dead-letters` shows all of it, "
        "replays and drops."
    )
    answers = {200: json_of(LettersAnswer, {"letters": [LETTER]})} | problems(403, 422, 503)
    return operation("Show dead letters", "admin", answers, description=about, parameters=parameters)


def _readyz() -> Json:
    answers = {200: json_of(Readiness)} | problems(503, model=NotReady)
    return operation("Is the process ready to answer", "health", answers)


VISIBLE = (
    "Answered once the change is durably in the log and, within a bounded wait, seen by recommendations: "
    "`visible` says whether it is."
)


_ITEM_ID = path_parameter("item_id", {"type": "string", "minLength": 1, "maxLength": 256})
