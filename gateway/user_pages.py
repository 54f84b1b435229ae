"""Users over HTTP: what a site says of one, and what is not to be shown to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.errors import StateFull, StateUnavailable
from contracts.items import merged
from contracts.nesting import deeper_than
from contracts.users import DEEPEST, Hide, UserDocument, document_of, replaced, with_hidden
from gateway import tables
from gateway.consents import REFUSALS
from gateway.items import PATCH_TYPES
from gateway.keys import CLOCK, RECOMMENDER, REFUSAL_STORE, SETTINGS, USERS
from gateway.problems import Refused, field_problems, not_found, out_of_range, refused_for_now
from gateway.tables import REPLICAS
from gateway.wire import expect_object, json_response, read_json, read_object, validated
from rights.consent import CONSENT, PERSONALISATION, with_consent
from state.users import Document

T = TypeVar("T")
DONE = {"visible": True}
_TRIES: Final = 20


class UnknownTaste(BaseModel):
    """Items that the catalogue does not have, and tags that mean nothing to the model that serves."""

    items: list[str]
    tags: list[str]


class ConsentSaid(BaseModel):
    """What a user consents to: one of the two, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    personalisation: bool | None = Field(
        default=None, strict=True, description="false: nothing kept is used, and nothing is kept."
    )
    marketing: bool | None = Field(default=None, strict=True, description="To be written to: campaigns read it.")

    @model_validator(mode="after")
    def _says_something(self) -> ConsentSaid:
        if self.personalisation is None and self.marketing is None:
            raise ValueError("expected `personalisation`, `marketing`, or both")
        return self


class UserAnswer(BaseModel):
    """What a write did. `visible`: every request that is made from now on counts it, in every process."""

    visible: bool
    unknown: UnknownTaste | None = Field(
        default=None, description="What the document says of a taste that nothing is known of; left out where all is."
    )


async def get_user(request: web.Request) -> web.Response:
    """Show what the site said of a user."""
    user_id = user_id_of(request)
    found = await _stored(lambda: request.app[USERS].get(user_id))
    if found is None:
        raise not_found(f"nothing was put of the user {user_id!r:.100}")
    return json_response(found)


async def put_user(request: web.Request) -> web.Response:
    """Create or replace a user's document. What is not to be shown stays, unless the body names it."""
    user = validated(await read_object(request, named=True, written=True), UserDocument)
    return await _change(request, lambda found: replaced(found, user), tells=True)


async def patch_user(request: web.Request) -> web.Response:
    """Change the named fields of a user, and leave all others (JSON merge patch). One that is not there is created."""
    patch = expect_object(await read_json(request, PATCH_TYPES, named=True, written=True))
    if deeper_than(patch, DEEPEST + 2):
        raise out_of_range(f"expected a patch nested at most {DEEPEST} deep")
    return await _change(
        request, lambda found: document_of(validated(merged(found or {}, patch), UserDocument)), tells=True
    )


async def post_do_not_show(request: web.Request) -> web.Response:
    """Never show an item, a brand or a category to a user again."""
    hide = validated(await read_object(request, named=True, written=True), Hide)
    return await _change(request, lambda found: with_hidden(found or {}, hide))


async def delete_do_not_show(request: web.Request) -> web.Response:
    """Show it again; the answer is the same when it was not hidden."""
    hide = validated(await read_object(request, named=True, written=True), Hide)
    return await _change(request, lambda found: with_hidden(found or {}, hide, undo=True) or None)


def user_id_of(request: web.Request) -> str:
    """Return the user id of the path. Raises Refused (422) when it is too long, or no text in UTF-8."""
    raw = request.rel_url.raw_path.removeprefix("/api/users/").partition("/")[0]
    try:
        user_id = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise out_of_range(f"expected a user id in UTF-8, percent-encoded: {error}") from error
    if not 1 <= len(user_id) <= 256:
        raise out_of_range(f"expected a user id of 1 to 256 characters, got {len(user_id)}")
    return user_id


async def get_consent(request: web.Request) -> web.Response:
    """Show what a user consented to. A refusal outlives the user's document."""
    user_id, app = user_id_of(request), request.app
    found = await _stored(lambda: app[USERS].get(user_id))
    said = dict((found or {}).get(CONSENT) or {})
    if app[REFUSALS].holds(user_id):
        said[PERSONALISATION] = False
    if not said:
        raise not_found(f"the user {user_id!r:.100} said nothing of consent")
    return json_response(said)


async def put_consent(request: web.Request) -> web.Response:
    """Say what a user consents to. A refusal holds in every process before it is answered where Redis answers."""
    said = validated(await read_object(request, named=True, written=True), ConsentSaid)
    given, now_ms, user_id = said.model_dump(exclude_none=True), request.app[CLOCK](), user_id_of(request)
    if given.get(PERSONALISATION) is False:  # before the document: who dies in between has refused
        await keep_refusal(request.app, user_id, refused=True)
    return await _change(request, lambda found: with_consent(found, given, now_ms), consents=True)


async def keep_refusal(app: web.Application, user_id: str, *, refused: bool) -> None:
    """Keep whether a user refuses personalisation, and return when this process knows it. Raises Refused."""
    refusals, store = app[REFUSALS], app[REFUSAL_STORE]
    most = app[SETTINGS].users.max_documents
    if refused and len(refusals) >= most:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, f"{most:,} users refused, users.max_documents allows no more")
    change = store.put if refused else store.take_back
    number = await _stored(lambda: change(user_id))
    with suppress(TimeoutError):
        async with asyncio.timeout(app[SETTINGS].gateway.visible_wait_ms / 1000):
            await app[REPLICAS][tables.REFUSALS.name].catch_up(number)


async def _tell_refusals(app: web.Application, user_id: str, document: Document | None, *, consents: bool) -> None:
    """Make the refusals say what the document says; what says nothing of it takes no refusal back.

    It is looked at again after that: between the two writes others may have written both, and the last one to write a
    refusal must not be one who read an older document.
    """
    told: bool | None = None
    for _ in range(_TRIES):
        said = ((document or {}).get(CONSENT) or {}).get(PERSONALISATION)
        if said is None or said is told:
            return
        if not (consents or said is False or app[REFUSALS].holds(user_id)):
            return
        await keep_refusal(app, user_id, refused=said is False)
        told, consents = said, True
        document = await _stored(lambda: app[USERS].get(user_id))
    raise refused_for_now(StateUnavailable("the user's consent was changed again and again meanwhile: try again"))


async def _change(
    request: web.Request,
    make: Callable[[Document | None], Document | None],
    *,
    tells: bool = False,
    consents: bool = False,
) -> web.Response:
    """Change a document. `tells`: what of it is unknown, to whom may read documents; `consents`: consent is said."""
    user_id, users = user_id_of(request), request.app[USERS]
    try:
        document = await _stored(lambda: users.change(user_id, make))
    except ValidationError as error:
        problems = field_problems(error)
        raise out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems) from error
    except ValueError as error:
        raise out_of_range(str(error)) from error
    await _tell_refusals(request.app, user_id, document, consents=consents)
    said = request.app[RECOMMENDER].said_in(document) if tells and document else None
    if said is None or not (said.unknown_items or said.unknown_tags):
        return json_response(DONE, HTTPStatus.OK)
    unknown = {"items": list(said.unknown_items), "tags": list(said.unknown_tags)}
    return json_response({**DONE, "unknown": unknown}, HTTPStatus.OK)


async def _stored(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except StateUnavailable as error:
        raise refused_for_now(error) from error
    except StateFull as error:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from error
