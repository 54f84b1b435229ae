"""Erasures over HTTP: a visitor is forgotten, and what became of that is looked at later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from contracts.errors import LogUnavailable, StateUnavailable
from gateway.erasures import ERASURES
from gateway.keys import CLOCK, SETTINGS, USERS
from gateway.problems import not_found, refused_for_now
from gateway.session_pages import session_id_of
from gateway.settings import GatewaySettings
from gateway.user_pages import user_id_of
from gateway.wire import json_response
from rights.erasure import Erasure, Status, Subject, decode_erasure, remains
from rights.places import PLACES
from state.campaign_files import CampaignFiles

_HOLDS: Final = {f"{place.kind}:{place.name}": place.holds for place in PLACES}


class ErasedThings(BaseModel):
    """Things of one place."""

    where: str = Field(description="Kind and name of the place: `redis:session`, `log:clicks`, `file:recordings`.")
    what: str
    count: int


class Remainder(BaseModel):
    """Something that remains, and why."""

    where: str
    why: str


class Look(BaseModel):
    """A later look through everything. `clean`: nothing from before the erasure is there."""

    at_ms: int
    clean: bool
    found: list[ErasedThings]


class ErasureReceipt(BaseModel):
    """An erasure. It names nobody: keep `id` with your request for it."""

    id: str
    subject: str = Field(description="`user`, with all their sessions, or `session`.")
    status: str = Field(description="`running` or `done`.")
    asked_ms: int = Field(description="When it was asked for; what the visitor does later is a new visitor's.")
    done_ms: int | None = None
    removed: list[ErasedThings]
    remains: list[Remainder]
    waits_for: str | None = Field(default=None, description="What keeps it from being done.")
    looked: Look | None = None


class ErasureBegun(ErasureReceipt):
    """The receipt of an erasure that was just asked for. `visible`: no request from now on knows the user's document
    and profile, in any process.
    """

    visible: bool = True


async def delete_user(request: web.Request) -> web.Response:
    """Erase a user: the document and the profile at once, all else within a minute."""
    user_id, users, now_ms = user_id_of(request), request.app[USERS], request.app[CLOCK]()
    return await _begun(request, Subject.USER, user_id, lambda: places_of(users.forget(user_id, now_ms=now_ms)), now_ms)


async def delete_session(request: web.Request) -> web.Response:
    """Erase a session, within a minute."""
    return await _begun(request, Subject.SESSION, session_id_of(request), dict[str, int], request.app[CLOCK]())


def places_of(gone: tuple[bool, bool]) -> dict[str, int]:
    document, profile = gone
    return {"redis:user": int(document), "redis:profile": int(profile)}


async def get_erasure(request: web.Request) -> web.Response:
    """Show an erasure's receipt; of one that is done, look again whether anything came back."""
    app, name = request.app, request.match_info["erasure_id"]
    erasures = app[ERASURES]
    try:
        raw = await asyncio.to_thread(erasures.store.get, name)
        if raw is None:
            raise not_found(f"there is no erasure {name!r:.60}: its id is in the answer to the request that began it")
        found = decode_erasure(raw)
        if found.status is Status.DONE:
            async with app[LOOKING]:
                found = await asyncio.to_thread(erasures.look, found)
        elsewhere = await asyncio.to_thread(elsewhere_of, app[SETTINGS])
    except (StateUnavailable, LogUnavailable) as error:
        raise refused_for_now(error) from error
    except ValueError as error:
        raise not_found(f"the erasure {name!r:.60} cannot be read: {error}") from error
    return json_response(receipt(found, app[SETTINGS], elsewhere))


async def _begun(
    request: web.Request, subject: Subject, name: str, forget: Callable[[], dict[str, int]], now_ms: int
) -> web.Response:
    erasures = request.app[ERASURES]
    try:
        erasure = await asyncio.to_thread(lambda: erasures.begin(subject, name, now_ms, forget()))
        elsewhere = await asyncio.to_thread(elsewhere_of, request.app[SETTINGS])
    except (StateUnavailable, LogUnavailable) as error:
        raise refused_for_now(error) from error
    erasures.wake()
    return json_response({"visible": True, **receipt(erasure, request.app[SETTINGS], elsewhere)})


def elsewhere_of(settings: GatewaySettings) -> list[str]:
    """Return other machines on which campaigns wrote files. Raises StateUnavailable."""
    with closing(CampaignFiles(settings.redis)) as files:
        return files.elsewhere()


def receipt(erasure: Erasure, settings: GatewaySettings, elsewhere: Sequence[str] = ()) -> dict[str, Any]:
    """Return what an answer says of an erasure."""
    failed = dict(erasure.failed)
    if erasure.subject is Subject.SESSION:
        failed["redis:profile"] = "clicks of the session that a user's profile learnt stay: erase the user"
    looked = erasure.looked
    return {
        "id": erasure.id,
        "subject": erasure.subject.value,
        "status": erasure.status.value,
        "asked_ms": erasure.at_ms,
        "done_ms": erasure.done_ms,
        "removed": _things(erasure.removed),
        "remains": remains(settings.log.kind != "redis", failed, elsewhere=elsewhere),
        "waits_for": erasure.waits_for,
        "looked": None
        if looked is None
        else {"at_ms": looked.at_ms, "clean": looked.clean, "found": _things(looked.places)},
    }


def _things(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"where": place, "what": _HOLDS.get(place, place), "count": count} for place, count in sorted(counts.items())
    ]


LOOKING = web.AppKey("looking for the erased", asyncio.Semaphore)
"""One look at a time: it reads all of the log."""
