"""The scenario paths of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from contracts.scenarios import NAME_PATTERN, Scenario
from gateway.openapi_parts import Json, body_of, json_of, operation, path_parameter, problems, ref
from gateway.pages import AnsweredList, PageAnswer, PageList, PageRequest
from gateway.scenario_pages import Preview, PreviewAnswer, PublishedAnswer, Rollback, ScenarioAnswer, ScenariosAnswer

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
NAME: Final = path_parameter("scenario", {"type": "string", "pattern": NAME_PATTERN})
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
                {200: json_of(PublishedAnswer, _DONE)} | problems(*_WRITE),
                "Every field is optional. Expressions are checked: 422 points at the field, and says line and column. "
                "`visible: true`: no process answers with an older version any more.",
                named=True,
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
        more["parameters"] = [NAME]
    return operation(summary, "scenarios", answers, **more)
