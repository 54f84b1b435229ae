"""Sessions over HTTP: which were answered lately, and of one its clicks and the items near its vector."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
from aiohttp import web
from pydantic import BaseModel, Field

from contracts.events import EventCode
from contracts.ids import partition_of
from contracts.sessions import Clicks, Session
from gateway.keys import CLOCK, MODELS, RECOMMENDER, SETTINGS, STATE, TURN, VIEWS
from gateway.problems import not_found, out_of_range, unavailable
from gateway.wire import json_response
from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState
from session_model.encoder import SessionEncoder

MOST_SESSIONS: Final = 20
"""Sessions listed."""
NEAREST: Final = 12
"""Items listed near a session."""


class AskedSession(BaseModel):
    """A session that this process answered: when last, and in which scenario."""

    session_id: str
    scenario: str
    asked_ms: int


class SessionsAnswer(BaseModel):
    """Sessions that this process answered lately, the newest first. Other processes have their own."""

    sessions: list[AskedSession]


class SessionClick(BaseModel):
    """A click of a session's window. Without `item_id`: the catalogue never had its item."""

    event: str = Field(description="Names the click to `forget` of a preview: 16 hex digits.")
    type: str
    ts_ms: int
    age_ms: int
    item_id: str | None = None
    title: str | None = None


class NearItem(BaseModel):
    """An item, and the cosine between it and what it is near to."""

    item_id: str
    title: str
    similarity: float


class SessionAnswer(BaseModel):
    """What is stored of a session. `events` counts all its clicks, `clicks` are those of its window, newest first."""

    session_id: str
    user_id: str | None = None
    started_ms: int
    last_ms: int
    now_ms: int
    events: int
    clicks: list[SessionClick]
    nearest: list[NearItem] = Field(description="By the session's vector; empty where there is no model or no vector.")


async def get_sessions(request: web.Request) -> web.Response:
    """List the sessions that were answered lately."""
    found: dict[str, dict[str, Any]] = {}
    for one in reversed(request.app[RECOMMENDER].latest):
        if len(found) >= MOST_SESSIONS:
            break
        found.setdefault(
            one.session_id, {"session_id": one.session_id, "scenario": one.scenario, "asked_ms": one.at_ms}
        )
    return json_response({"sessions": list(found.values())})


async def get_session(request: web.Request) -> web.Response:
    """Show one session, 404 where nothing is stored of it."""
    app, session_id = request.app, session_id_of(request)
    until = asyncio.get_running_loop().time() + app[SETTINGS].gateway.deadline_ms / 1000
    read = await app[VIEWS].see(session_id, partition_of(session_id, app[SETTINGS].log.partitions), None, until)
    if read.view is None:
        raise unavailable("Redis does not answer: ask again")
    session = read.view.session
    if session is None:
        raise not_found(
            f"nothing is stored of the session {session_id!r:.100}: it had no click, or none within the idle gap"
        )
    now_ms = app[CLOCK]()
    async with app[TURN]:
        return json_response(_told(session, app[STATE], app[MODELS]().encoder, now_ms))


def _told(session: Session, state: ServingState, encoder: SessionEncoder | None, now_ms: int) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "started_ms": session.started_ms,
        "last_ms": session.last_ms,
        "now_ms": now_ms,
        "events": session.events,
        "clicks": _clicks(session.window[::-1], state.catalogue, now_ms),
        "nearest": _nearest(session, state, encoder, now_ms),
    }


def _clicks(window: Clicks, columns: CatalogueColumns, now_ms: int) -> list[dict[str, Any]]:
    rows = columns.rows_of(window["item"].astype(np.uint64)).tolist()
    told: list[dict[str, Any]] = []
    for click, row in zip(window, rows, strict=True):
        ts_ms = int(click["ts_ms"])
        one: dict[str, Any] = {
            "event": f"{int(click['event']):016x}",
            "type": EventCode(int(click["code"])).name.lower(),
            "ts_ms": ts_ms,
            "age_ms": max(0, now_ms - ts_ms),
        }
        if row >= 0:
            one |= {"item_id": columns.item_ids[row], "title": columns.documents[row].title}
        told.append(one)
    return told


def _nearest(
    session: Session, state: ServingState, encoder: SessionEncoder | None, now_ms: int
) -> list[dict[str, Any]]:
    contexts = contexts_of([Query(now_ms=now_ms, session=session)], state.catalogue, encoder)
    return near(state, contexts.queries[0], NEAREST) if contexts.has_query[0] else []


def near(state: ServingState, vector: np.ndarray[Any, np.dtype[np.float32]], most: int) -> list[dict[str, Any]]:
    """Return the items nearest to a unit vector (d,), nearest first. Hold TURN."""
    rows, similarity = state.index.search(vector[None], most)
    return [
        {
            "item_id": state.catalogue.item_ids[row],
            "title": state.catalogue.documents[row].title,
            "similarity": round(cosine, 4),
        }
        for row, cosine in zip(rows[0].tolist(), similarity[0].tolist(), strict=True)
        if row >= 0
    ]


def session_id_of(request: web.Request) -> str:
    """Return the session id of the path. Raises Refused (422) when it is too long, or no text in UTF-8."""
    raw = request.rel_url.raw_path.removeprefix("/api/sessions/").partition("/")[0]
    try:
        session_id = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise out_of_range(f"expected a session id in UTF-8, percent-encoded: {error}") from error
    if len(session_id) > 256:
        raise out_of_range(f"expected a session id of at most 256 characters, got {len(session_id)}")
    return session_id
