"""Scenarios over HTTP: publish, read, delete, go back to an older version, and try a draft without publishing it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from aiohttp import web
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.api import Placement, RecommendationAnswer, RecommendationRequest
from contracts.errors import StateUnavailable
from contracts.left_out import LeftOutLog
from contracts.pointers import MAX_FIELDS
from contracts.scenarios import (
    MAX_BYTES,
    MAX_SCENARIOS,
    NAME_PATTERN,
    Scenario,
    ScenarioVersion,
    document_of,
    placement_of,
)
from gateway.keys import AHEAD, CATALOGUE, CLOCK, DOCUMENTS, EXPERIMENTS, RECOMMENDER, SCENARIOS, SETTINGS
from gateway.own_machine import CALLER
from gateway.problems import FieldProblem, Refused, field_problems, not_found, out_of_range, refused_for_now
from gateway.rankers import expect_ranker
from gateway.recommendations import asked_by
from gateway.scenarios import decode, encode
from gateway.tables import REPLICAS
from gateway.tables import SCENARIOS as TABLE
from gateway.wire import Whole, encoded, json_bytes, json_response, read_object, validated
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import Compiled, ScenarioError
from rerank.scenarios.doubts import doubts_of, items_named, known_of
from rerank.scenarios.problems import ScenarioProblems
from state.documents import DocumentStore, Published

log = logging.getLogger("nextclick.gateway")
_left_out = LeftOutLog(log)

T = TypeVar("T")


class ScenarioAnswer(BaseModel):
    """One scenario as it is published. `version` 0 is a placement that nothing was put over."""

    name: str
    version: int = Field(ge=0)
    published_ms: int | None = None
    by: str | None = None
    scenario: Scenario


class ScenariosAnswer(BaseModel):
    scenarios: list[ScenarioAnswer]


class PublishedAnswer(BaseModel):
    """What a write did. `visible`: no process answers with an older version any more."""

    name: str
    version: int = Field(ge=0)
    visible: bool


class Rollback(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(ge=1, description="The version whose document is published again, as a new version.")


class PutQuery(BaseModel):
    """How a version is published."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    made_from: Whole | None = Field(default=None, ge=0)


EventKeyWord = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class Preview(BaseModel):
    """A draft, and a request that it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: Scenario
    request: RecommendationRequest
    forget: list[EventKeyWord] | None = Field(
        default=None,
        max_length=100,
        description="Clicks of the stored session that this answer leaves out, by their `event` of "
        "`GET /api/sessions/{session_id}`. The session stays as it is.",
    )


class PreviewAnswer(RecommendationAnswer):
    """What the draft answers."""

    warnings: list[FieldProblem] | None = Field(
        default=None,
        description="What of the draft will probably not do what it looks like: conditions that are never true, words "
        "and items that the catalogue does not have, limits and shares that no page can keep; 20 at most.",
    )


async def get_scenarios(request: web.Request) -> web.Response:
    """List what is published, and the placements that nothing was put over."""
    published = {one.name: _answer(one) for one in request.app[SCENARIOS].all()}
    plain = {placement.value: _plain(placement.value) for placement in Placement}
    return json_response({"scenarios": [one for _, one in sorted({**plain, **published}.items())]})


async def get_scenario(request: web.Request) -> web.Response:
    """Show one scenario."""
    name = _name(request)
    found = request.app[SCENARIOS].get(name)
    if found is None and placement_of(name) is None:
        raise not_found(f"there is no scenario {name!r}")
    return json_response(_plain(name) if found is None else _answer(found))


async def put_scenario(request: web.Request) -> web.Response:
    """Publish a new version; where the request says what it was made from, only as the next one."""
    name = _name(request)
    made_from = validated(dict(request.query), PutQuery).made_from
    document = await read_object(request, named=True, written=True)
    return await _published(request, name, *await _checked(request, name, document), made_from)


async def delete_scenario(request: web.Request) -> web.Response:
    """Take a scenario away: a placement of that name answers as it did before; any other name is 404 from then on."""
    name = _name(request)
    try:
        request.app[SCENARIOS].expect_no_dependents(name)
    except ScenarioError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from error
    if running := [one.name for one in request.app[EXPERIMENTS].on(name)]:
        raise Refused(HTTPStatus.CONFLICT, f"the experiment {running[0]!r} runs on {name!r}: stop it first")
    done = await stored(partial(store_of(request).delete, name))
    return await written(request, name, done)


async def get_versions(request: web.Request) -> web.Response:
    """List the versions of a scenario that are kept, newest first."""
    return json_response({"scenarios": [_answer(one) for one in reversed(await _versions(request, _name(request)))]})


async def post_rollback(request: web.Request) -> web.Response:
    """Publish an older version again, as a new one."""
    name = _name(request)
    wanted = validated(await read_object(request, named=True, written=True), Rollback).version
    found = {one.version: one for one in await _versions(request, name)}
    if wanted not in found:
        raise not_found(f"there is no version {wanted} of {name!r} any more; there are {_range(sorted(found))}")
    scenario = found[wanted].scenario
    return await _published(request, name, scenario, await _compiled(request, name, scenario))


async def post_preview(request: web.Request) -> web.Response:
    """Answer a request by a draft, and say what of it is doubtful. Nothing is published, no impression is written."""
    name = _name(request)
    preview, scenario, draft = await _previewed(request, name, await read_object(request, named=True, written=True))
    asked, forgotten = preview.request, tuple(int(word, 16) for word in preview.forget or ())
    question = structs.replace(asked_by(asked, request.app, name, lambda: draft), tried=True, forgotten=forgotten)
    answer = await request.app[RECOMMENDER].answer(question, shown=False)
    known = known_of(request.app[CATALOGUE], items_named(scenario))
    now_ms = request.app[CLOCK]()
    found = await asyncio.to_thread(doubts_of, scenario, draft.scenario, known, asked.limit, now_ms)
    warnings = {"warnings": [one._asdict() for one in found]} if found else {}
    return json_bytes(encoded({**answer, **warnings}))


def _name(request: web.Request) -> str:
    """Return the name in the path. Raises Refused (422)."""
    name = request.match_info["scenario"]
    if not re.fullmatch(NAME_PATTERN, name):
        raise out_of_range(f"expected a name of a to z, 0 to 9, _ and -, 64 characters at most, got {name[:100]!r}")
    return name


def store_of(request: web.Request) -> DocumentStore:
    return request.app[DOCUMENTS]


async def _compiled(request: web.Request, name: str, scenario: Scenario) -> Compiled:
    """Compile a document that was published before. Raises Refused (422) with a pointer into it."""
    try:
        found = request.app[SCENARIOS].compile(name, 0, scenario)
        await expect_ranker(request.app, found)
        return found
    except ScenarioError as error:
        raise _wrong(_told([error])) from error


async def _checked(request: web.Request, name: str, document: dict[str, Any]) -> tuple[Scenario, Compiled]:
    """Return a document as a scenario. Raises Refused: 413 too large, 422 with everything that is wrong with it."""
    _expect_size(document)
    try:
        found = request.app[SCENARIOS].checked(document, name)
        await expect_ranker(request.app, found[1])
        return found
    except ScenarioProblems as error:
        raise _wrong(_told(error.problems)) from error
    except ScenarioError as error:
        raise _wrong(_told([error])) from error


async def _previewed(request: web.Request, name: str, body: dict[str, Any]) -> tuple[Preview, Scenario, Compiled]:
    """Return a preview, its draft, and that compiled.

    Raises Refused as `_checked`, with pointers into the body.
    """
    document, wrong, found = body.get("scenario"), list[FieldProblem](), None
    if isinstance(document, dict):
        _expect_size(document)
        body = {**body, "scenario": {}}
        try:
            found = request.app[SCENARIOS].checked(document, name)
            await expect_ranker(request.app, found[1])
        except ScenarioProblems as error:
            wrong = _told(error.problems, "/scenario")
        except ScenarioError as error:
            found, wrong = None, _told([error], "/scenario")
    try:
        preview = Preview.model_validate(body)
    except ValidationError as error:
        raise _wrong([*wrong, *field_problems(error, (), Preview)]) from error
    if found is None:
        raise _wrong(wrong)
    return preview, *found


def _told(problems: Sequence[ScenarioError], under: str = "") -> list[FieldProblem]:
    return [FieldProblem(pointer=under + one.pointer, detail=one.detail) for one in problems]


def _wrong(problems: Sequence[FieldProblem]) -> Refused:
    return out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems[:MAX_FIELDS])


def _expect_size(document: dict[str, Any]) -> None:
    """Refuse (413) a document that is larger than may be published."""
    if (size := len(encoded(document))) > MAX_BYTES:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a document of at most {MAX_BYTES:,} bytes, got {size:,}"
        )


def _expect_room(request: web.Request, name: str) -> None:
    """Refuse (507) what every process would have to keep."""
    published = request.app[SCENARIOS]
    if len(published) >= MAX_SCENARIOS and published.get(name) is None:
        raise Refused(
            HTTPStatus.INSUFFICIENT_STORAGE, f"expected at most {MAX_SCENARIOS:,} scenarios: delete one first"
        )


async def _published(
    request: web.Request, name: str, scenario: Scenario, compiled: Compiled, made_from: int | None = None
) -> web.Response:
    done = await publish_document(request, name, scenario, compiled, made_from)
    return await written(request, name, done, compiled)


async def publish_document(
    request: web.Request, name: str, scenario: Scenario, compiled: Compiled, made_from: int | None = None
) -> Published:
    """Publish a version. What it reads of every item is looked at after, so that nothing of it is missing once the
    answer says that it is visible. Raises Refused (409) where another came after the one it was made from.
    """
    row_of = await made_ready(request, name, scenario, compiled)
    newest = request.app[SCENARIOS].get(name)
    if made_from == 0 and newest is not None:
        raise _came_between(name, newest.version, made_from)

    def next_row(version: int) -> bytes:
        if made_from and version != made_from + 1:
            raise _came_between(name, version - 1, made_from)
        return row_of(version)

    return await stored(partial(store_of(request).publish, name, next_row))


def _came_between(name: str, newest: int, made_from: int) -> Refused:
    own = f"from version {made_from}" if made_from else "before anything was published"
    return Refused(
        HTTPStatus.CONFLICT,
        f"version {newest} of {name!r} was published meanwhile, this draft was made {own}: look at it, and try again",
    )


async def made_ready(request: web.Request, name: str, scenario: Scenario, compiled: Compiled) -> Callable[[int], bytes]:
    """Return what makes the row of a version, given its number. What it reads of every item is made before, so that no
    page waits for it.
    """
    _expect_room(request, name)
    with suppress(TimeoutError):
        async with _in_time(request):
            await _made(request, compiled)
    now_ms = request.app[CLOCK]()
    caller = request.get(CALLER)
    key_id = None if caller is None else caller.key_id

    def row_of(version: int) -> bytes:
        return encode(ScenarioVersion(name=name, version=version, published_ms=now_ms, by=key_id, scenario=scenario))

    return row_of


async def written(request: web.Request, name: str, done: Published, *compiled: Compiled) -> web.Response:
    """Wait until this process answers by what was written; others look for it with each request."""
    replica = request.app[REPLICAS][TABLE.name]
    try:
        async with _in_time(request):
            visible = await replica.catch_up(done.end)
            for one in compiled:
                await _made(request, one)
    except TimeoutError:
        visible = False
    return json_response({"name": name, "version": done.version, "visible": visible}, HTTPStatus.OK)


async def _made(request: web.Request, compiled: Compiled) -> None:
    """Wait until columns of what a scenario reads of every item are there."""
    await request.app[AHEAD].catch_up(read_of_items(compiled, request.app[CLOCK]()))


def _in_time(request: web.Request) -> asyncio.Timeout:
    return asyncio.timeout(request.app[SETTINGS].gateway.visible_wait_ms / 1000)


async def _versions(request: web.Request, name: str) -> list[ScenarioVersion]:
    rows = await stored(partial(store_of(request).versions, name))
    if not rows:
        raise not_found(f"nothing was ever published as {name!r}")
    return readable(rows, decode, f"a version of the scenario {name}")


def readable(rows: Sequence[bytes], decoded: Callable[[bytes], T], what: str) -> list[T]:
    """Return rows, decoded. What cannot be read is left out, and said once."""
    found: list[T] = []
    for row in rows:
        try:
            found.append(decoded(row))
        except ValueError as error:
            _left_out.say(what, error)
    return found


async def stored(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except StateUnavailable as error:
        raise refused_for_now(error) from error


def _answer(version: ScenarioVersion) -> dict[str, Any]:
    fields = version.model_dump(mode="json", exclude={"scenario"})
    return {**fields, "scenario": document_of(version.scenario)}


def _plain(name: str) -> dict[str, Any]:
    return {"name": name, "version": 0, "published_ms": None, "by": None, "scenario": {}}


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
