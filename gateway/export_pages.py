"""GET /api/users/{user_id}/export: all that is held of a user, as one JSON document, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from contracts.errors import LogUnavailable, StateUnavailable
from gateway.exporting import NOT_READ, Entry, Exporting
from gateway.keys import CATALOGUE, CLOCK, SETTINGS, TURN
from gateway.page_headers import NOSNIFF
from gateway.problems import refused_for_now
from gateway.user_pages import user_id_of
from retrieval.catalogue import CatalogueColumns

MOST_ENTRIES: Final = 200_000
"""Things that an export holds, all places together."""
_AT_ONCE: Final = 200
EXPORTING: web.AppKey[asyncio.Semaphore] = web.AppKey("exporting")
"""One at a time: it reads the whole log."""


class ExportAnswer(BaseModel):
    """All that is held of a user. Places are named as in docs/privacy.md."""

    user_id: str
    at_ms: int
    held: dict[str, list[dict[str, Any]]] = Field(description="By place; empty where a place holds nothing.")
    not_read: dict[str, str] = Field(description="Places that may hold something, and why it is not here.")
    sessions: list[str] = Field(description="Sessions that are tied to the user: what they did is in here too.")
    complete: bool = Field(description=f"false: there is more than {MOST_ENTRIES:,} entries.")
    error: str | None = Field(default=None, description="What could not be read any more; ask again then.")


async def get_export(request: web.Request) -> web.StreamResponse:
    """Export a user. What goes wrong before the first entry is a problem, later on `error` at the end."""
    user_id, app = user_id_of(request), request.app
    async with app[EXPORTING]:
        reading = Exporting(app[SETTINGS], user_id)
        try:
            return await _answered(request, reading, user_id)
        finally:
            await asyncio.to_thread(reading.close)


async def _answered(request: web.Request, reading: Exporting, user_id: str) -> web.StreamResponse:
    app, entries = request.app, reading.entries()
    try:
        found = await asyncio.to_thread(_next, entries)
    except (LogUnavailable, StateUnavailable) as error:
        raise refused_for_now(error) from error
    headers = {**NOSNIFF, "Content-Type": "application/json", "Cache-Control": "no-store"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(b'{"user_id":%b,"at_ms":%d,"held":{' % (orjson.dumps(user_id), app[CLOCK]()))
    place, count, problem, is_first, written = "", 0, None, True, b""
    while found and count <= MOST_ENTRIES and problem is None:
        async with app[TURN]:
            named = [_with_items(one, app[CATALOGUE]) for one in found]
        for one in named:
            written, is_first = written + _part(one, place, is_first=is_first), one.held is None
            place, count = one.place, count + (one.held is not None)
        await response.write(written)
        written = b""
        try:
            found = await asyncio.to_thread(_next, entries)
        except (LogUnavailable, StateUnavailable) as error:
            found, problem = [], str(error)
    about = {
        "not_read": NOT_READ,
        "sessions": sorted(reading.whose.sessions),
        "complete": not found and problem is None,
        **({} if problem is None else {"error": problem}),
    }
    await response.write((b"]" if place else b"") + b"}," + orjson.dumps(about)[1:])
    await response.write_eof()
    return response


def _next(entries: Iterator[Entry]) -> list[Entry]:
    return list(islice(entries, _AT_ONCE))


def _part(one: Entry, place: str, *, is_first: bool) -> bytes:
    """Return the JSON of one entry behind one of `place`; `is_first` in it."""
    if one.held is None:
        return (b"]," if place else b"") + orjson.dumps(one.place) + b":["
    raw = orjson.dumps(one.held, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return raw if is_first else b"," + raw


def _with_items(one: Entry, columns: CatalogueColumns) -> Entry:
    """Return an entry whose ItemKeys are the ids that the catalogue has; others stay, as 16 hex digits."""
    held = one.held
    if held is None:
        return one
    if "clicks" in held:
        names = _named([click["item"] for click in held["clicks"]], columns)
        held = {**held, "clicks": [{**click, "item": name} for click, name in zip(held["clicks"], names, strict=True)]}
    elif one.place in ("exposures", "waits", "table_rows"):
        held = {**held, "items": _named(held["items"], columns)}
    return Entry(one.place, held)


def _named(keys: list[int], columns: CatalogueColumns) -> list[str]:
    rows = columns.rows_of(np.array(keys, np.uint64)).tolist()
    return [columns.item_ids[row] if row >= 0 else f"{key:016x}" for key, row in zip(keys, rows, strict=True)]
