"""GET /api/items/{item_id}/insight: what is known of one item, what it goes with, and which scenarios show it."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any, Final
from uuid import uuid4

import numpy as np
from aiohttp import web
from pydantic import BaseModel, Field

from contracts.api import Placement
from contracts.codec import TREND_COUNTS
from contracts.ids import item_key
from contracts.items import UNLIMITED_STOCK
from contracts.plain_requests import PlainRequest
from gateway.browse import CatalogueItem, document_at, rows_named
from gateway.items import item_id_of
from gateway.keys import CLOCK, RECOMMENDER, STATE, TURN
from gateway.one_at_a_time import alone
from gateway.problems import Refused, not_found
from gateway.question import NOBODY, Question
from gateway.recommendations import names_of, published
from gateway.session_pages import NearItem, near
from gateway.wire import json_response
from rerank.scenarios.compiled import NO_FILTER, Compiled
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState
from retrieval.trend_columns import BOTH
from retrieval.trends import ClickOrigin

MOST: Final = 12
"""Items of each list."""
MOST_SCENARIOS: Final = 20
"""Scenarios that one request asks."""
LONGEST_PAGE: Final = 100
_AT_ONCE: Final = 4
_SESSIONS: Final = 500
"""Newest ended sessions asked for what was bought together, as the candidate source does."""
LOOKING = web.AppKey("looking at an item", asyncio.Semaphore)
"""Held by whoever asks all scenarios: one request at a time, so that this cannot take the process from the others."""


class ItemTrends(BaseModel):
    """Counts that halve once per half-life; those by origin do not. `usual` and `lately` are clicks an hour."""

    clicks: float
    recent: float
    views: float
    half_life_ms: float
    recent_half_life_ms: float
    usual: float
    lately: float
    shown: float
    clicked: float
    click_rate: float = Field(description="Clicks by showing, smoothed towards the rate over all items.")
    origins: dict[str, float] = Field(description="Where clicks came from: entry, repeat, forward, return.")


class GoesWith(BaseModel):
    """An item that is clicked or taken in the same sessions. `share`: of clicks; `sessions`: that took both."""

    item_id: str
    title: str
    share: float | None = None
    sessions: int | None = None


class ShownBy(BaseModel):
    """Whether a scenario shows an item to a visitor of whom nothing is known."""

    name: str
    version: int = Field(ge=0)
    position: int | None = Field(default=None, description="On a page of 100; null where it is not on it.")
    dropped: str | None = Field(default=None, description="The rule, or the clause of the filter, that drops it.")
    buried: bool = False
    wrong: str | None = Field(default=None, description="Why the scenario cannot be asked.")


class InsightAnswer(BaseModel):
    """One item: as the catalogue has it, its counts, what is near to it and goes with it, and who shows it."""

    item: CatalogueItem
    has_vector: bool
    sold_out: bool
    trends: ItemTrends | None = Field(default=None, description="Null where nobody ever clicked it or was shown it.")
    covisited: list[GoesWith]
    nearest: list[NearItem]
    together: list[GoesWith]
    scenarios: list[ShownBy]
    left_out: int = Field(ge=0, description="Scenarios beyond the first 20, which were not asked.")


async def get_insight(request: web.Request) -> web.Response:
    """Show one item, 404 when the catalogue does not have it."""
    app, item_id = request.app, item_id_of(request)
    state = app[STATE]
    async with alone(app[LOOKING], "looks at an item"):
        async with app[TURN]:
            rows = rows_named(state.catalogue, [item_id])
            if not len(rows):
                raise not_found(f"the catalogue has no item {item_id!r}")
            found = _known(state, int(rows[0]), app[CLOCK]())
        names = _asked(app)
        asked = [partial(_shown_by, app, name, item_id) for name in names[:MOST_SCENARIOS]]
        scenarios: list[dict[str, Any]] = []
        for at in range(0, len(asked), _AT_ONCE):
            scenarios += await asyncio.gather(*(ask() for ask in asked[at : at + _AT_ONCE]))
    return json_response({**found, "scenarios": scenarios, "left_out": max(0, len(names) - MOST_SCENARIOS)})


def _asked(app: web.Application) -> list[str]:
    """Return the names of all scenarios, placements first."""
    placements = [placement.value for placement in Placement]
    return [*placements, *sorted(names_of(app) - set(placements))]


def _known(state: ServingState, row: int, now_ms: int) -> dict[str, Any]:
    columns = state.catalogue
    key = np.array([columns.keys[row]], np.uint64)
    has_vector = bool(columns.has_vector[row])
    found = near(state, columns.vectors[row], MOST + 1) if has_vector else []
    return {
        "item": document_at(columns, row),
        "has_vector": has_vector,
        "sold_out": int(columns.stock[row]) != UNLIMITED_STOCK and int(columns.stock[row]) <= 0,
        "trends": _trends(state, key, now_ms),
        "covisited": _covisited(state, key),
        "nearest": [one for one in found if one["item_id"] != columns.item_ids[row]][:MOST],
        "together": _together(state, key),
    }


def _trends(state: ServingState, key: np.ndarray[Any, np.dtype[np.uint64]], now_ms: int) -> dict[str, Any] | None:
    trends = state.trends
    rows = trends.rows_of(key)
    if rows[0] < 0:
        return None
    counts = {name: float(trends.counts_at(name, rows, now_ms)[0]) for name in TREND_COUNTS}
    rules, (shown, clicked) = trends.rules, trends.shown_at(rows)[0].tolist()
    origins = trends.origin_counts_at(rows)[0].tolist()
    return {
        "clicks": counts["popularity"],
        "recent": counts["recent"],
        "views": counts["views"],
        "half_life_ms": rules.half_life_ms,
        "recent_half_life_ms": rules.recent_half_life_ms,
        "usual": _an_hour(counts["popularity"], rules.half_life_ms),
        "lately": _an_hour(counts["recent"], rules.recent_half_life_ms),
        "shown": shown,
        "clicked": clicked,
        "click_rate": float(trends.ctr_at(rows)[0]),
        "origins": {origin.name.lower(): origins[origin] for origin in ClickOrigin},
    }


def _an_hour(count: float, half_life_ms: float) -> float:
    """Return the rate at which a decayed count would stay what it is."""
    return count * math.log(2) * 3_600_000 / half_life_ms


def _covisited(state: ServingState, key: np.ndarray[Any, np.dtype[np.uint64]]) -> list[dict[str, Any]]:
    keys, shares = state.trends.neighbours_of(key)
    weights = shares[0, :, BOTH]
    order = np.argsort(-weights, kind="stable")
    told = {"share": [round(float(weights[at]), 4) for at in order if weights[at] > 0]}
    return _items(state.catalogue, keys[0][order[: len(told["share"])]], told)


def _together(state: ServingState, key: np.ndarray[Any, np.dtype[np.uint64]]) -> list[dict[str, Any]]:
    _, keys, sessions = state.ended.bought_with(key[None], most=MOST, newest=_SESSIONS)
    return _items(state.catalogue, keys, {"sessions": sessions.tolist()})


def _items(
    columns: CatalogueColumns, keys: np.ndarray[Any, np.dtype[np.uint64]], told: dict[str, list[Any]]
) -> list[dict[str, Any]]:
    """Return those of the items that the catalogue has, MOST at most, each with what is told of it."""
    found: list[dict[str, Any]] = []
    for at, row in enumerate(columns.rows_of(np.ascontiguousarray(keys)).tolist()):
        if row >= 0 and columns.alive[row] and len(found) < MOST:
            more = {name: values[at] for name, values in told.items()}
            found.append({"item_id": columns.item_ids[row], "title": columns.documents[row].title, **more})
    return found


async def _shown_by(app: web.Application, name: str, item_id: str) -> dict[str, Any]:
    """Ask a scenario twice: for a page, and for this item alone, of which a rule may say that it drops it."""
    try:
        compiled = published(app, name)
    except Refused as error:
        return {"name": name, "version": 0, "wrong": error.detail}
    alone = await _answer(app, compiled, candidates=[item_id], limit=1)
    page = await _answer(app, compiled, limit=LONGEST_PAGE)
    places = {one["item_id"]: one["position"] for one in page["recommendations"]}
    return {
        "name": name,
        "version": compiled.version,
        "position": places.get(item_id),
        "dropped": next(iter(alone["dropped"]), None),
        "buried": bool(np.isin(np.uint64(item_key(item_id)), compiled.buried)),
    }


async def _answer(app: web.Application, compiled: Compiled, **asked: Any) -> dict[str, Any]:
    """Return what a visitor of whom nothing is known would be shown. Nothing is logged."""
    request = PlainRequest(session_id=f"insight-{uuid4().hex}", **asked)
    question = Question(request, NOBODY, (), None, lambda: compiled, NO_FILTER, tried=True)
    return await app[RECOMMENDER].answer(question, shown=False)
