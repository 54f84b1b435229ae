"""The OpenFeature remote evaluation protocol (OFREP): which variant a unit gets, without a list of items.

https://github.com/open-feature/protocol, version 0.3: a flag is an experiment, its key the experiment's name, its value
the name of the variant. Who is in no variant gets no value: the application takes its own default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import xxhash
from aiohttp import hdrs, web
from pydantic import BaseModel, Field, ValidationError

from contracts.events import Identifier
from contracts.experiments import ExperimentVersion
from contracts.plain_requests import PlainRequest
from gateway.consents import CONSENTS
from gateway.experiments import Assigned
from gateway.keys import CLOCK, EXPERIMENTS, RECOMMENDER
from gateway.problems import Refused, field_problems
from gateway.question import Question, Visitor
from gateway.recommendations import published
from gateway.wire import encoded, json_bytes, json_response, read_object
from rerank.scenarios.compiled import NO_FILTER

TARGETING_KEY: Final = "targetingKey"
_IDS: Final = (TARGETING_KEY, "session_id", "user_id")


class FlagContext(Visitor):
    """Who is asked for, beside what conditions of segments read. Other fields are theirs."""

    targetingKey: Identifier = Field(  # noqa: N815 - the protocol's name
        description="The unit: a session's id or a user's, whichever the experiment goes by."
    )
    session_id: Identifier | None = Field(default=None, description="The session, where the key is a user's.")
    user_id: Identifier | None = Field(default=None, description="The user, where the key is a session's.")


class FlagRequest(BaseModel):
    """What is asked."""

    context: FlagContext


class FlagAnswer(BaseModel):
    """Which variant a unit gets. Without `value` it is in none: the application's own default."""

    key: str
    value: str | None = None
    variant: str | None = None
    reason: str = Field(description="SPLIT, TARGETING_MATCH (a tester), DEFAULT (in no variant) or DISABLED.")
    metadata: dict[str, str | float | bool] | None = None


class FlagError(BaseModel):
    """Why there is no answer, in the protocol's words."""

    key: str | None = None
    errorCode: str = Field(  # noqa: N815 - the protocol's name
        description="PARSE_ERROR, TARGETING_KEY_MISSING, INVALID_CONTEXT, FLAG_NOT_FOUND or GENERAL."
    )
    errorDetails: str | None = None  # noqa: N815 - the protocol's name


class FlagsAnswer(BaseModel):
    flags: list[FlagAnswer | FlagError]


class _Failed(Exception):
    """A question that cannot be answered, as the protocol says it."""

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(detail)


async def post_flag(request: web.Request) -> web.Response:
    """Say which variant of one experiment a unit gets."""
    key = request.match_info["key"]
    try:
        context = await _context(request)
    except _Failed as error:
        return _failed(error, HTTPStatus.BAD_REQUEST, key=key)
    found = await _answers(request, lambda: request.app[EXPERIMENTS].named(key), context)
    if not found:
        unknown = _Failed("FLAG_NOT_FOUND", f"there is no experiment {key[:100]!r}")
        return _failed(unknown, HTTPStatus.NOT_FOUND, key=key)
    return json_response(found[0], HTTPStatus.BAD_REQUEST if "errorCode" in found[0] else HTTPStatus.OK)


async def post_flags(request: web.Request) -> web.Response:
    """Say which variant a unit gets of each experiment that is not stopped. 304 where the client has that already."""
    try:
        context = await _context(request)
    except _Failed as error:
        return _failed(error, HTTPStatus.BAD_REQUEST)
    body = encoded({"flags": await _answers(request, request.app[EXPERIMENTS].not_stopped, context)})
    tag = f'"{xxhash.xxh3_64_hexdigest(body)}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
    if tag in known:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={hdrs.ETAG: tag})
    answer = json_bytes(body)
    answer.headers[hdrs.ETAG] = tag
    return answer


async def _context(request: web.Request) -> Mapping[str, Any]:
    """Return the context of a body, checked. Raises _Failed, and Refused as `read_body` does (408, 413, 415, 503)."""
    try:
        document = await read_object(request)
    except Refused as error:
        if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise
        raise _Failed("PARSE_ERROR", error.detail) from error
    context = document.get("context", {})
    if not isinstance(context, dict):
        raise _Failed("INVALID_CONTEXT", f"expected a JSON object as `context`, got {type(context).__name__}")
    if context.get(TARGETING_KEY) in (None, ""):
        raise _Failed("TARGETING_KEY_MISSING", "expected the id of a session or a user as `context.targetingKey`")
    try:
        FlagContext.model_validate(context)
    except ValidationError as error:
        problem = field_problems(error, ("context",), FlagContext)[0]
        raise _Failed("INVALID_CONTEXT", f"{problem.pointer}: {problem.detail}") from error
    return context


async def _answers(
    request: web.Request, wanted: Callable[[], list[ExperimentVersion]], context: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what the protocol says of experiments for a unit: nothing is kept of it, and without consent nothing that
    is kept is read. wanted: returns them, once all that is published is known here. Raises what a recommendation does.
    """
    app = request.app
    versions: list[ExperimentVersion] = []
    visitor = Visitor.model_validate({name: one for name, one in context.items() if name in Visitor.model_fields})

    def questions() -> list[Question]:
        versions.extend(wanted())
        return [_question(app, one, context, visitor) for one in versions]

    session_id, user_id = (context.get(name) or context[TARGETING_KEY] for name in ("session_id", "user_id"))
    said = context.get("consent")
    given = app[CONSENTS].given(said if isinstance(said, bool) else None, user_id, request.headers)
    asked = PlainRequest(session_id, user_id) if given else PlainRequest("", None)
    whose = Question(asked, visitor, (), None, partial(published, app, ""), NO_FILTER)
    found = await app[RECOMMENDER].assignments(whose, questions)
    return [_told(version, part, app[CLOCK](), context) for version, part in zip(versions, found, strict=True)]


def _question(
    app: web.Application, version: ExperimentVersion, context: Mapping[str, Any], visitor: Visitor
) -> Question:
    """Return the request of recommendations that this unit would send."""
    key, of_session = context[TARGETING_KEY], version.experiment.unit == "session"
    said = {name: one for name, one in context.items() if name not in _IDS}
    session_id, user_id = context.get("session_id"), context.get("user_id")
    asked = PlainRequest(
        key if of_session else session_id or key,
        user_id if of_session else key,
        context=said,
    )
    return Question(asked, visitor, (), None, partial(published, app, version.experiment.scenario), NO_FILTER)


def _told(
    version: ExperimentVersion, part: Assigned | Refused | None, now_ms: int, context: Mapping[str, Any]
) -> dict[str, Any]:
    if isinstance(part, Refused):
        return {"key": version.name, "errorCode": "GENERAL", "errorDetails": part.detail}
    told: dict[str, Any] = {"key": version.name}
    if part is None or part.experiment != version.name:
        told["reason"] = "DEFAULT" if version.runs_at(now_ms) else "DISABLED"
    else:
        tester = context[TARGETING_KEY] in version.experiment.overrides
        told |= {"value": part.variant, "variant": part.variant, "reason": "TARGETING_MATCH" if tester else "SPLIT"}
    return {**told, "metadata": {"scenario": version.experiment.scenario, "version": version.version}}


def _failed(error: _Failed, status: HTTPStatus, **of: str) -> web.Response:
    return json_response({**of, "errorCode": error.code, "errorDetails": error.detail}, status)
