"""The scenario paths of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from contracts.scenarios import NAME_PATTERN, Scenario
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, query, ref
from gateway.pages import AnsweredList, PageAnswer, PageList, PageRequest
from gateway.scenario_pages import Preview, PreviewAnswer, PublishedAnswer, Rollback, ScenarioAnswer, ScenariosAnswer
from gateway.why_not import WhyNotAnswer, WhyNotItem, WhyNotRequest, WhyNotSource, WhyNotStep

MODELS: Final = (
    PageRequest,
    PageList,
    PageAnswer,
    AnsweredList,
    Scenario,
    ScenarioAnswer,
    ScenariosAnswer,
    PublishedAnswer,
    Rollback,
    Preview,
    PreviewAnswer,
    WhyNotRequest,
    WhyNotAnswer,
    WhyNotItem,
    WhyNotSource,
    WhyNotStep,
)


SCENARIO: Final[Json] = {
    "base": "homepage",
    "filter": 'price < 50 and not brand in ["Acme"]',
    "boosts": [{"if": "attributes.promo == true", "multiply": 1.5, "why": "Black Friday"}],
    "limits": [{"field": "category", "share": 0.5}],
}
_DONE: Final[Json] = {"name": "deals", "version": 3, "visible": True}
_SHOWN: Final[Json] = {"name": "deals", "version": 3, "published_ms": 1767225600000, "by": None, "scenario": SCENARIO}
_PAGE: Final[Json] = {
    "session_id": "s-42",
    "lists": [{"scenario": "homepage", "limit": 10}, {"scenario": "deals", "limit": 5, "fields": ["title", "price"]}],
}
_MISSED: Final[Json] = {"request": {"session_id": "s-42", "limit": 10}, "items": ["sku-9"]}
_WHY_NOT: Final[Json] = {
    "scenario": {"name": "homepage", "version": 0},
    "items": [
        {
            "item_id": "sku-9",
            "verdict": "dropped",
            "says": "It was dropped by out_of_stock. It would stand at rank 4 of 61.",
            "rank": 4,
            "ranked": 61,
            "score": 0.71,
            "least": 0.42,
            "dropped_by": ["out_of_stock"],
            "changes": [[{"kind": "rule", "says": "stock > 0", "value": "out_of_stock"}]],
        }
    ],
}
NAME: Final = path_parameter("scenario", {"type": "string", "pattern": NAME_PATTERN})
_MADE_FROM: Final = query(
    "made_from",
    {"type": "integer", "minimum": 0},
    "The version that the document was made from, 0: none. 409 where another was published after it.",
)
_WRITE = (400, 403, 408, 413, 415, 422, 503, 507)


def scenario_paths() -> Json:
    """Return the paths of scenarios."""
    return {
        "/api/pages": {"post": _pages()},
        "/api/scenarios": {"get": _operation("List scenarios", {200: json_of(ScenariosAnswer)})},
        "/api/scenarios/{scenario}": {
            "get": _operation(
                "Show a scenario", {200: json_of(ScenarioAnswer, _SHOWN)} | problems(404, 422), named=True
            ),
            "put": _operation(
                "Publish a scenario",
                {200: json_of(PublishedAnswer, _DONE)} | problems(409, *_WRITE),
                "Every field is optional. Expressions are checked: 422 points at the field, and says line and column. "
                "`visible: true`: no process answers with an older version any more.",
                named=True,
                parameters=[_MADE_FROM],
                requestBody=body_of({"application/json": {"schema": ref(Scenario), "example": SCENARIO}}),
            ),
            "delete": _operation(
                "Delete a scenario",
                {200: json_of(PublishedAnswer)} | problems(403, 409, 422, 503),
                "A placement of that name answers as before. 409 while others stand on it.",
                named=True,
            ),
        },
        "/api/scenarios/{scenario}/versions": {
            "get": _operation(
                "List the versions of a scenario", {200: json_of(ScenariosAnswer)} | problems(404, 422, 503), named=True
            )
        },
        "/api/scenarios/{scenario}/rollback": {
            "post": _operation(
                "Go back to an older version",
                {200: json_of(PublishedAnswer, _DONE)} | problems(404, *_WRITE),
                "The older document is published as a new version.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Rollback), "example": {"version": 2}}}),
            )
        },
        "/api/scenarios/{scenario}/preview": {
            "post": _operation(
                "Try a draft",
                {200: json_of(PreviewAnswer)} | problems(*_WRITE),
                "Answers the request by the draft. Nothing is published, and nothing is logged as shown. `forget` "
                "leaves clicks of the session out of this answer.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(Preview)}}),
            )
        },
        "/api/scenarios/{scenario}/why-not": {
            "post": _operation(
                "Ask why items are not in an answer",
                {200: json_of(WhyNotAnswer, _WHY_NOT)} | problems(400, 403, 404, 408, 409, 413, 415, 422, 503),
                "Of the answer that the request gets now. Nothing is logged as shown. Every change that is named was "
                "applied: the page was laid out with it, and showed the item.",
                named=True,
                requestBody=body_of({"application/json": {"schema": ref(WhyNotRequest), "example": _MISSED}}),
            )
        },
    }


def _pages() -> Json:
    return operation(
        "Ask for all lists of a page",
        "recommendations",
        {200: json_of(PageAnswer)} | problems(400, 404, 408, 409, 413, 415, 422, 503),
        description="One reading of the session, one batch. The lists choose in their order; no item stands in two.",
        requestBody=body_of({"application/json": {"schema": ref(PageRequest), "example": _PAGE}}),
    )


def _operation(
    summary: str, answers: dict[int, Json], about: str | None = None, *, named: bool = False, **more: Any
) -> Json:
    if about is not None:
        more["description"] = about
    if named:
        more["parameters"] = [NAME, *more.get("parameters", ())]
    return operation(summary, "scenarios", answers, **more)
