"""POST /api/scenarios/{scenario}/why-not: what became of items in the answer that a session gets now."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from contracts.api import RecommendationRequest, ScenarioName
from contracts.events import Identifier
from gateway.keys import RECOMMENDER
from gateway.recommendations import asked_by, published
from gateway.wire import encoded, json_bytes, read_object, validated
from rerank.query import Query
from rerank.trials import Trials
from rerank.why_not import Verdict, why_not

MOST_ITEMS: Final = 5
"""Items of one question: each is ranked some dozen times."""


class WhyNotRequest(BaseModel):
    """A request for recommendations, and the items that are missed in its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: RecommendationRequest
    items: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_ITEMS)]


class WhyNotSource(BaseModel):
    """A source that knows an item for this visitor."""

    source: str
    place: int = Field(ge=1, description="Where it ranks the item, from 1.")
    size: int = Field(ge=0, description="How many items it may bring.")
    setting: str = Field(description="The setting that says how many.")
    most: int = Field(description="How many the setting may say at most.")


class WhyNotStep(BaseModel):
    """One thing that would have to be otherwise."""

    kind: Literal["rule", "item", "filter", "source", "candidates", "score", "limit", "limits", "diversity", "pin"]
    says: str
    value: Any = Field(default=None, description="A number, a name, or a part of a scenario, by `kind`.")


class WhyNotItem(BaseModel):
    """What became of one item. Numbers that do not apply are left out."""

    item_id: str
    verdict: Verdict
    says: str = Field(description="The same in a sentence.")
    position: int | None = Field(default=None, description="Where it is shown, from 1.")
    rank: int | None = Field(default=None, description="Its place by score, from 1, were it dropped by nothing.")
    ranked: int | None = Field(default=None, description="Candidates that the rules leave.")
    score: float | None = None
    least: float | None = Field(default=None, description="The lowest score on the page.")
    found_by: list[WhyNotSource] = Field(default=[], description="Sources that could have brought it.")
    dropped_by: list[str] = Field(default=[], description="Rules, and clauses of a filter as `filter: clause`.")
    changes: list[list[WhyNotStep]] = Field(
        default=[], description="Each would show it, all of its steps taken. The page was laid out with each."
    )


class WhyNotAnswer(BaseModel):
    scenario: ScenarioName
    experiment_id: str | None = None
    variant: str | None = None
    capped: bool | None = Field(default=None, description="True: a frequency cap leaves the page empty.")
    items: list[WhyNotItem]


async def post_why_not(request: web.Request) -> web.Response:
    """Say of items why they are not in the answer to a request. Nothing is shown, counted or logged."""
    asked = validated(await read_object(request, named=True), WhyNotRequest)
    name = request.match_info["scenario"]
    question = asked_by(asked.request, request.app, name, partial(published, request.app, name))
    looks = [partial(_told, item_id) for item_id in dict.fromkeys(asked.items)]
    prepared, told = await request.app[RECOMMENDER].look(question, looks)
    answer: dict[str, Any] = {
        "scenario": {"name": prepared.scenario.name, "version": prepared.scenario.version},
        "items": told,
    }
    if prepared.assigned is not None:
        answer |= {"experiment_id": prepared.assigned.experiment, "variant": prepared.assigned.variant}
    if prepared.capped:
        answer["capped"] = True
    return json_bytes(encoded(answer))


def _told(item_id: str, trials: Trials, query: Query) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(why_not(trials, query, item_id))
    return found
