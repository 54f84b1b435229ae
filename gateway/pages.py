"""POST /api/pages: several lists of one page, from one reading of the session, as one batch. No item stands twice."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from contracts.api import MOST_CAPSULE, Recommendation, RecommendationAnswer, RecommendationRequest
from contracts.events import Identifier
from contracts.items import a_number
from contracts.scenarios import ScenarioName
from gateway.keys import RECOMMENDER
from gateway.problems import Refused
from gateway.question import Question
from gateway.recommendations import asked_by, consented, published
from gateway.wire import BEACON_TYPES, encoded, expect_object, json_bytes, read_json, validated

MOST_LISTS: Final = 20
MOST_CANDIDATES: Final = 2000
"""That the lists of a page bring, all together."""
_OF_LISTS: Final = ("item_id", "limit", "exclude", "candidates", "filter", "fields", "cursor", "explain")


class PageList(BaseModel):
    """One list of a page. What is left out is as in a recommendation request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: ScenarioName
    item_id: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(a_number)] = 20
    exclude: list[Identifier] | None = Field(default=None, max_length=1000)
    candidates: list[Identifier] | None = Field(default=None, max_length=1000)
    filter: str | None = Field(default=None, min_length=1, max_length=1000)
    fields: list[str] | None = Field(default=None, max_length=50)
    cursor: str | None = Field(default=None, max_length=22_000)
    explain: bool = Field(default=False, strict=True)


class PageRequest(BaseModel):
    """One visitor, and the lists of the page, in the order in which they choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_id: Identifier
    user_id: Identifier | None = None
    context: dict[str, Any] | None = None
    recent_events: list[dict[str, Any]] | None = Field(default=None, max_length=100)
    after: str | None = None
    consent: bool | None = Field(default=None, strict=True)
    capsule: str | None = Field(default=None, max_length=MOST_CAPSULE)
    lists: list[PageList] = Field(min_length=1, max_length=MOST_LISTS)

    @field_validator("lists")
    @classmethod
    def _can_be_ranked_together(cls, lists: list[PageList]) -> list[PageList]:
        given = sum(len(one.candidates or ()) for one in lists)
        if given > MOST_CANDIDATES:
            raise ValueError(f"expected at most {MOST_CANDIDATES:,} candidates in all lists, got {given:,}")
        return lists


class AnsweredList(RecommendationAnswer):
    """One list of a page."""

    recommendations: list[Recommendation]


class PageAnswer(BaseModel):
    """`capsule`: with `capsule` in the request, as with a single list."""

    lists: list[AnsweredList]
    capsule: str | None = None


async def post_pages(request: web.Request) -> web.Response:
    """Answer all lists of a page within the deadline of one."""
    page = validated(expect_object(await read_json(request, BEACON_TYPES)), PageRequest)
    questions = [_question(request.app, page, at) for at in range(len(page.lists))]
    answers = await request.app[RECOMMENDER].answer_page([consented(one, request, request.app) for one in questions])
    capsules = [one.pop("capsule") for one in answers if "capsule" in one]
    return json_bytes(encoded({"lists": answers, **({"capsule": capsules[0]} if capsules else {})}))


def _question(app: web.Application, page: PageRequest, at: int) -> Question:
    """Return the question of one list. Raises Refused, with pointers into the page."""
    one = page.lists[at]
    shared = page.model_dump(exclude={"lists"}, exclude_unset=True)
    own = {name: getattr(one, name) for name in _OF_LISTS if name in one.model_fields_set}
    try:
        asked = validated({**shared, **own}, RecommendationRequest)
        return asked_by(asked, app, one.scenario, partial(published, app, one.scenario))
    except Refused as error:
        raise _of_list(error, at) from error


def _of_list(error: Refused, at: int) -> Refused:
    """Have the pointers of what is refused of a list begin at the list."""
    errors = [
        one.model_copy(update={"pointer": f"/lists/{at}{one.pointer}"}) if _names_list(one.pointer) else one
        for one in error.errors
    ]
    return Refused(
        error.status, f"list {at}: {error.detail}", errors=errors, headers=error.headers, members=error.members
    )


def _names_list(pointer: str) -> bool:
    return pointer.split("/")[1:2] != [] and pointer.split("/")[1] in _OF_LISTS
