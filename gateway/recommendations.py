"""POST /api/recommendations/{placement}: decode, ask the recommender, encode."""

from __future__ import annotations

from aiohttp import web

from contracts.api import Placement, RecommendationRequest
from contracts.events import Rejection
from contracts.plain_events import PlainEvent, check_event
from contracts.plain_requests import plain, plain_request
from eventlog.contract import Position
from gateway.door import DOOR
from gateway.encoded import EncodedJson
from gateway.keys import CLOCK, RECOMMENDER, SETTINGS
from gateway.problems import FieldProblem, Refused, not_found, out_of_range, pointer
from gateway.recommender import NOBODY, Question, Visitor
from gateway.wire import decoded, encoded, expect_object, json_bytes, read_body, validated


async def post_recommendations(request: web.Request) -> web.StreamResponse:
    """Answer within the deadline; `degraded` and `stale` say what had to be left out."""
    app = request.app
    body = await answer_at(_placement(request.match_info["placement"]), request, app)
    for_pages = bool(app[SETTINGS].gateway.cors_origins) or app[DOOR].asks_keys
    return json_bytes(body) if for_pages else EncodedJson(body)


async def answer_at(placement: Placement, request: web.Request, app: web.Application) -> bytes:
    """Return the encoded answer to a request at a placement. Raises what `gateway.problems` makes an answer of."""
    question = _question(placement, await read_body(request, app=app), app)
    return encoded(await app[RECOMMENDER].answer(question))


def _question(placement: Placement, body: bytes, app: web.Application) -> Question:
    """Decode a body: in one pass where it is plain, else by the schema. Raises Refused."""
    asked, partitions = plain_request(body), app[SETTINGS].log.partitions
    if asked is not None:
        return Question(placement, asked, NOBODY, (), _after(asked.after, partitions))
    request = validated(expect_object(decoded(body)), RecommendationRequest)
    clicks = _clicks(request, app[CLOCK]())
    after = _after(request.after, partitions)
    visitor = validated(request.context or {}, Visitor, under=("context",))
    return Question(placement, plain(request), visitor, clicks, after)


def _placement(name: str) -> Placement:
    try:
        return Placement(name)
    except ValueError as error:
        raise not_found(f"there is no placement {name[:100]!r}; there are {', '.join(Placement)}") from error


def _clicks(asked: RecommendationRequest, now_ms: int) -> tuple[PlainEvent, ...]:
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
            clicks.append(event)
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
