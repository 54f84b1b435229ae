"""POST /api/recommendations/{placement}: decode, ask the recommender, encode."""

from __future__ import annotations

from aiohttp import web

from contracts.api import Placement, RecommendationRequest
from contracts.events import Rejection
from contracts.plain_events import PlainEvent, check_event
from eventlog.contract import Position
from gateway.keys import CLOCK, RECOMMENDER, SETTINGS
from gateway.problems import FieldProblem, Refused, not_found, out_of_range, pointer
from gateway.recommender import Question, Visitor
from gateway.wire import json_response, read_model, validated


async def post_recommendations(request: web.Request) -> web.Response:
    """Answer within the deadline; `degraded` and `stale` say what had to be left out."""
    app = request.app
    placement = _placement(request.match_info["placement"])
    asked = await read_model(request, RecommendationRequest)
    clicks = _clicks(asked, app[CLOCK]())
    after = _after(asked, app[SETTINGS].log.partitions)
    visitor = validated(asked.context or {}, Visitor, under=("context",))
    return json_response(await app[RECOMMENDER].answer(Question(placement, asked, visitor, clicks, after)))


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


def _after(asked: RecommendationRequest, partitions: int) -> Position | None:
    if asked.after is None:
        return None
    position = Position.parse(asked.after)
    if position.partition >= partitions:
        raise _refused(("after",), f"expected a token of this deployment's {partitions} partitions")
    return position


def _refused(path: tuple[str | int, ...], detail: str) -> Refused:
    where = pointer(path)
    return out_of_range(f"{where}: {detail}", [FieldProblem(pointer=where, detail=detail)])
