"""Problem answers (RFC 9457). Every error that leaves the gateway is made here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field, ValidationError

from contracts.api import Problem
from contracts.errors import LogFull, LogUnavailable, RecordTooLarge, StateUnavailable
from contracts.pointers import MAX_FIELDS, in_document, pointer
from contracts.unknown_fields import told
from gateway.coalesce import Overloaded
from gateway.incidents import Incidents, new_name
from gateway.page_headers import NOSNIFF

log = logging.getLogger("nextclick.gateway")

RETRY_AFTER_S = 1
RETRY_AFTER_FULL_S = 5

_incidents = Incidents()


class FieldProblem(BaseModel):
    """One field that could not be taken."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request body; empty is the whole body.")
    detail: str


class GatewayProblem(Problem):
    """RFC 9457 problem details; `errors` names the fields of a 422, `id` what the gateway's log has of a 500 or 503."""

    errors: list[FieldProblem] | None = None
    id: str | None = None


class Refused(Exception):
    """A request that is answered with a problem. Handlers raise it, the middleware answers it."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        self.status, self.detail, self.errors = status, detail, errors
        self.headers, self.members = headers or {}, members or {}
        super().__init__(detail)


def malformed(detail: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, detail)


def not_found(detail: str) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, detail)


def out_of_range(detail: str, errors: Sequence[FieldProblem] = ()) -> Refused:
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def unavailable(
    detail: str, *, retry_after_s: int = RETRY_AFTER_S, members: Mapping[str, Any] | None = None
) -> Refused:
    headers = {"Retry-After": str(retry_after_s)}
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers, members=members)


def refused_for_now(error: LogUnavailable | StateUnavailable | Overloaded) -> Refused:
    """Return the 503 of something that cannot be taken now; a full log needs longer than the rest.

    What Redis or Kafka say, and where they are, is for the log: the client gets the id under which it stands there.
    """
    if isinstance(error, LogFull):
        return unavailable(str(error), retry_after_s=RETRY_AFTER_FULL_S)
    if isinstance(error, Overloaded):
        return unavailable(str(error))
    name = _incidents.name_of(error)
    what = "the event log takes nothing now" if isinstance(error, LogUnavailable) else "the state cannot be read now"
    return unavailable(f"{what}: send it again (the gateway's log has more under {name})", members={"id": name})


def field_problems(
    error: ValidationError, under: Sequence[str | int] = (), model: type[BaseModel] | None = None
) -> list[FieldProblem]:
    """Name each field that a model refused, at most MAX_FIELDS of them; with the model also what was meant."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELDS]
    said = [one["msg"] if model is None else told(one, model) for one in found]
    places = [pointer((*under, *in_document(one["loc"]))) for one in found]
    return [FieldProblem(pointer=place, detail=detail) for place, detail in zip(places, said, strict=True)]


def problem_response(refused: Refused, *, instance: str) -> web.Response:
    """Encode a problem. The type is `about:blank`, so the title is the status's own phrase."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": refused.status.phrase,
        "status": int(refused.status),
        "detail": refused.detail,
        "instance": instance,
        **refused.members,
    }
    if refused.errors:
        document["errors"] = [one.model_dump() for one in refused.errors]
    return web.Response(
        body=orjson.dumps(document),
        status=refused.status,
        content_type="application/problem+json",
        headers={**NOSNIFF, **refused.headers},
    )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem answer."""
    try:
        return await handler(request)
    except Exception as error:
        return problem_of(error, request)


def problem_of(error: Exception, request: web.Request) -> web.StreamResponse:
    """Return the answer to a request whose handler raised. Raises the error again where it is no problem."""
    instance = instance_of(request)
    if isinstance(error, Refused):
        return problem_response(error, instance=instance)
    if isinstance(error, web.HTTPException):
        if error.status < HTTPStatus.BAD_REQUEST:
            raise error
        return problem_response(_of_http(error, request), instance=instance)
    if isinstance(error, LogUnavailable | StateUnavailable | Overloaded):
        return problem_response(refused_for_now(error), instance=instance)
    if isinstance(error, RecordTooLarge):
        return problem_response(Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)), instance=instance)
    name = new_name()
    log.error("unforeseen error in %s %s, id %s", request.method, path_of(request), name, exc_info=error)
    detail = f"the gateway met an error that it did not foresee (its log has more under {name})"
    refused = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, detail, members={"id": name})
    return problem_response(refused, instance=instance)


def instance_of(request: web.BaseRequest) -> str:
    """Return a request's path as it was sent: RFC 9457 wants a URI reference, so `%7B` stays `%7B`."""
    return request.rel_url.raw_path


def path_of(request: web.BaseRequest) -> str:
    """Return a request's path for the log: without its query, where a key may stand."""
    return request.raw_path.partition("?")[0][:300]


def _of_http(error: web.HTTPException, request: web.Request) -> Refused:
    status = HTTPStatus(error.status)
    headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    if status is HTTPStatus.NOT_FOUND:
        detail = f"there is no {request.path} here; GET /openapi.json lists what there is"
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not answered here; allowed: {headers.get('Allow', '')}"
    else:
        detail = error.text or status.phrase
    return Refused(status, detail, headers=headers)
