"""POST /api/recommendations/{scenario}: decode, ask the recommender, encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Final

from aiohttp import web

from contracts.api import Placement, RecommendationRequest
from contracts.events import Rejection
from contracts.plain_events import PlainEvent, check_event, read_as
from contracts.plain_requests import PlainRequest, plain, plain_request
from contracts.pointers import MAX_FIELDS, pointer
from contracts.sessions import Session
from contracts.unknown_fields import not_of_items
from eventlog.contract import Position
from gateway.capsules import CAPSULES
from gateway.consents import CONSENTS, without_consent
from gateway.cursors import Listed, decode_cursor
from gateway.door import DOOR
from gateway.encoded import EncodedJson
from gateway.keys import CLOCK, RECOMMENDER, SCENARIOS, SECRET, SETTINGS
from gateway.problems import FieldProblem, Refused, not_found, out_of_range
from gateway.question import NOBODY, Question, Visitor
from gateway.wire import BEACON_TYPES, decoded, encoded, expect_object, json_bytes, read_body, validated
from rerank.scenarios.compiled import NO_FILTER, Compiled, ScenarioError, compile_filter
from rerank.scenarios.compiled import Filter as RequestFilter
from rerank.scenarios.compiled import plain as plain_scenario


async def post_recommendations(request: web.Request) -> web.StreamResponse:
    """Answer within the deadline; `degraded` and `stale` say what had to be left out."""
    app = request.app
    body = await answer_at(request.match_info["scenario"], request, app)
    for_pages = bool(app[SETTINGS].gateway.cors_origins) or app[DOOR].asks_keys
    return json_bytes(body) if for_pages else EncodedJson(body)


async def answer_at(name: str, request: web.Request, app: web.Application) -> bytes:
    """Return the encoded answer to a request of a scenario. Raises what `gateway.problems` makes an answer of."""
    question = question_of(name, await read_body(request, BEACON_TYPES, app=app), app)
    return encoded(await app[RECOMMENDER].answer(consented(question, request, app)))


def consented(question: Question, request: web.Request, app: web.Application) -> Question:
    """Return the question, without a name where request or visitor do not consent."""
    asked = question.asked
    given = app[CONSENTS].given(asked.consent, asked.user_id, request.headers)
    return question if given else without_consent(question)


def question_of(name: str, body: bytes, app: web.Application) -> Question:
    """Decode a body: in one pass where it is plain, else by the schema. Raises Refused."""
    asked, partitions = plain_request(body), app[SETTINGS].log.partitions
    find = partial(published, app, name)
    if asked is not None:
        after = _after(asked.after, partitions)
        wanted = NO_FILTER if asked.filter is None else _filter(asked.filter)
        _expect_open(asked, wanted, app)
        shown_before = _shown_before(asked, name, app)
        return Question(asked, NOBODY, (), after, find, wanted, shown_before, capsule=_brought(asked, app))
    return asked_by(validated(expect_object(decoded(body)), RecommendationRequest), app, name, find)


def asked_by(request: RecommendationRequest, app: web.Application, name: str, find: Callable[[], Compiled]) -> Question:
    """Return the question of a request that the schema took. Raises Refused."""
    clicks = _clicks(request, app[CLOCK](), app[SETTINGS].events.types)
    after = _after(request.after, app[SETTINGS].log.partitions)
    visitor = validated(request.context or {}, Visitor, under=("context",))
    wanted = NO_FILTER if request.filter is None else _filter(request.filter)
    asked = plain(request)
    _expect_open(asked, wanted, app)
    shown_before = _shown_before(asked, name, app)
    return Question(asked, visitor, clicks, after, find, wanted, shown_before, capsule=_brought(asked, app))


def _brought(asked: PlainRequest, app: web.Application) -> Session | None:
    """Return the session that the request's capsule has. Raises Refused."""
    return app[CAPSULES].open(asked.capsule, asked.session_id, app[CLOCK]()) if asked.capsule else None


def _expect_open(asked: PlainRequest, wanted: RequestFilter, app: web.Application) -> None:
    """Refuse (422) fields that no item has; and (403) a request that asks for margins, or by its filter for what is
    known of a user, where keys part those who may see them from those who may not.
    """
    if asked.fields:
        expect_fields(asked.fields)
    if not app[DOOR].asks_keys:
        return
    named = [name for name in asked.fields or () if name.split(".")[0] in SECRET_FIELDS]
    secret = any(name in SECRET_FIELDS or name.startswith(_USER) for name in wanted.names)
    if named or secret:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "expected no margin and no field of `user` in `filter` and `fields` of a request: a scenario may use them",
        )


def expect_fields(fields: Sequence[str] | None, under: str = "") -> None:
    """Refuse (422) names in `fields` that no item can have, with a pointer to each."""
    wrong = not_of_items(fields or ())[:MAX_FIELDS]
    if wrong:
        problems = [FieldProblem(pointer=f"{under}/fields/{at}", detail=detail) for at, detail in wrong]
        raise out_of_range(f"{problems[0].pointer}: {problems[0].detail}", problems)


def published(app: web.Application, name: str) -> Compiled:
    """Return the scenario of a name as it is published now, or a plain placement. Raises Refused (404, 409)."""
    try:
        found = app[SCENARIOS].find(name)
    except ScenarioError as error:
        raise Refused(HTTPStatus.CONFLICT, f"the scenario {name!r} cannot be applied any more: {error}") from error
    if found is not None:
        return found
    if name in _PLACEMENTS:
        return _PLACEMENTS[name]
    raise not_found(f"there is no scenario {name[:100]!r}; there are {', '.join(sorted(names_of(app)))[:500]}")


def names_of(app: web.Application) -> set[str]:
    """Return the names that can be asked: placements and what was published."""
    return {*_PLACEMENTS, *(one.name for one in app[SCENARIOS].all())}


SECRET_FIELDS: Final = frozenset({"margin"})
"""Fields of items that a key for recommendations does not open."""
_USER: Final = "user."
_PLACEMENTS: Final = {placement.value: plain_scenario(placement) for placement in Placement}


def _shown_before(asked: PlainRequest, name: str, app: web.Application) -> tuple[int, ...]:
    """Return the keys of what the request's cursor says was shown. Raises Refused."""
    if asked.cursor is None:
        return ()
    try:
        listed = Listed(name, asked.session_id, asked.item_id, asked.filter)
        return decode_cursor(app[SECRET].value, listed, asked.cursor)
    except ValueError as error:
        raise _refused(("cursor",), str(error)) from error


@lru_cache(maxsize=64)  # what a predicate says of each word is kept with it
def _compiled_filter(text: str) -> RequestFilter:
    return compile_filter(text, passing=True)


def _filter(text: str) -> RequestFilter:
    try:
        return _compiled_filter(text)
    except ScenarioError as error:
        raise out_of_range(str(error), [FieldProblem(pointer=error.pointer, detail=error.detail)]) from error


def _clicks(asked: RecommendationRequest, now_ms: int, types: Mapping[str, str]) -> tuple[PlainEvent, ...]:
    """Validate the clicks that came with the request; impressions among them say nothing about a session."""
    clicks: list[PlainEvent] = []
    for index, document in enumerate(asked.recent_events or ()):
        event = check_event(document, now_ms=now_ms)
        if isinstance(event, Rejection):
            raise _refused(("recent_events", index), str(event))
        if event.session_id != asked.session_id:
            raise _refused(
                ("recent_events", index, "session_id"), f"expected the request's session {asked.session_id!r}"
            )
        if not event.is_impression:
            clicks.append(read_as(event, types))
    return tuple(clicks)


def _after(token: str | None, partitions: int) -> Position | None:
    if token is None:
        return None
    position = Position.parse(token)
    if position.partition >= partitions:
        raise _refused(("after",), f"expected a token of this deployment's {partitions} partitions")
    return position


def _refused(path: tuple[str | int, ...], detail: str) -> Refused:
    where = pointer(path)
    return out_of_range(f"{where}: {detail}", [FieldProblem(pointer=where, detail=detail)])
