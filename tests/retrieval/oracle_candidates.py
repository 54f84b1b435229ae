"""The plain numpy twin of `retrieval.candidates` and its sources: what the kernels are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.contexts import Contexts
from retrieval.serving_state import ServingState
from retrieval.sources import Rung, SourceSettings
from retrieval.trend_columns import AFTER, BOTH, RECENT

Entries = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Requests (t,), rows (t,), and a number (t,)."""


def gathered(
    contexts: Contexts,
    state: ServingState,
    sizes: SourceSettings,
    given: Sequence[NDArray[np.int32] | None],
    filters: Sequence[Any],
    shows_seen: NDArray[np.bool_],
    rung: Rung,
    longest: int,
) -> dict[str, NDArray[Any]]:
    """Return the columns of `Candidates`."""
    b, now_ms = len(contexts), int(contexts.now_ms.max())
    listed = np.array([rows is not None for rows in given])
    alone = rung <= Rung.CO_VISITATION or not (contexts.lengths > 0).all()
    trending = max(sizes.trending, 3 * longest) if alone else sizes.trending
    ranked: dict[str, Entries] = {
        "trending_rank": _to_all(state, b, state.trends.trending(now_ms, trending)),
        "window_rank": _window(contexts, state, sizes.window, shows_seen & ~listed),
        "given_rank": _given(state, given),
        "nearest_rank": _NOTHING,
        "recent_rank": _NOTHING,
        "new_rank": _NOTHING,
        "bought_together": _NOTHING,
        "own_rank": _NOTHING,
    }
    suggested = _NO_SUGGESTIONS
    if rung >= Rung.CO_VISITATION:
        ranked["recent_rank"] = _to_all(state, b, state.trends.recent(now_ms, sizes.recent))
        suggested = _suggested(contexts, state, sizes)
    if rung >= Rung.RETRIEVAL_ORDER:
        ranked["new_rank"] = _new(state, b, now_ms, sizes.new)
        ranked["nearest_rank"] = _nearest(contexts, state, max(sizes.nearest, 2 * longest), sizes, listed, filters)
    pairs = {(int(request), int(row)) for one in ranked.values() for request, row, _ in zip(*one, strict=True)}
    pairs |= {(int(one["request"]), int(one["row"])) for one in suggested if one["brought"]}
    mine = {(int(request), int(row)) for request, row, _ in zip(*ranked["given_rank"], strict=True)}
    kept = sorted(pair for pair in pairs if pair in mine or not listed[pair[0]])
    at = {pair: place for place, pair in enumerate(kept)}
    columns: dict[str, NDArray[Any]] = {
        "request": np.array([request for request, _ in kept], np.int32),
        "rows": np.array([row for _, row in kept], np.int32),
    }
    columns["starts"] = np.searchsorted(columns["request"], np.arange(b + 1))
    for name, (requests, rows, ranks) in ranked.items():
        columns[name] = np.full(len(kept), np.nan, np.float32)
        for request, row, rank in zip(requests, rows, ranks, strict=True):
            if (int(request), int(row)) in at:
                columns[name][at[int(request), int(row)]] = rank
    return columns | _co_visitation(suggested, at)


_NOTHING: Entries = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
_NO_SUGGESTIONS: list[dict[str, Any]] = []


def _best_first(state: ServingState, requests: NDArray[Any], rows: NDArray[Any]) -> Entries:
    held = (rows >= 0) & state.catalogue.alive[rows] if state.catalogue.count else np.zeros(rows.shape, np.bool_)
    at, rank = np.nonzero(held)
    return requests[at], rows[at, rank], rank.astype(np.float32)


def _to_all(state: ServingState, b: int, keys: NDArray[np.uint64]) -> Entries:
    rows = state.catalogue.rows_of(keys)
    return _best_first(state, np.arange(b), np.tile(rows, (b, 1)))


def _new(state: ServingState, b: int, now_ms: int, most: int) -> Entries:
    catalogue, keys = state.catalogue, state.trends.recent(now_ms, 500)
    if not catalogue.count or not len(keys):
        return _NOTHING
    rows = catalogue.rows_of(keys)
    new = (rows >= 0) & catalogue.alive[rows] & (now_ms - catalogue.created_ms[rows] < 3 * 3_600_000)
    return _to_all(state, b, keys[new][:most])


def _window(contexts: Contexts, state: ServingState, most: int, asked: NDArray[np.bool_]) -> Entries:
    rows = contexts.rows[:, :most]
    again = ((rows[:, :, None] == rows[:, None, :]) & np.tri(rows.shape[1], k=-1, dtype=np.bool_)).any(axis=2)
    return _best_first(state, np.arange(len(rows)), np.where(again | ~asked[:, None], np.int32(-1), rows))


def _given(state: ServingState, given: Sequence[NDArray[np.int32] | None]) -> Entries:
    parts = [_NOTHING]
    for request, rows in enumerate(given):
        if rows is not None:
            distinct = np.array(list(dict.fromkeys(rows.tolist())), np.int32)
            parts.append(_best_first(state, np.array([request]), distinct[None]))
    request, row, rank = (np.concatenate(column) for column in zip(*parts, strict=True))
    return request, row, rank


def _nearest(
    contexts: Contexts,
    state: ServingState,
    k: int,
    sizes: SourceSettings,
    listed: NDArray[np.bool_],
    filters: Sequence[Any],
) -> Entries:
    asked = np.flatnonzero(contexts.has_query & ~listed)
    if not sizes.nearest or not len(asked) or not len(state.index):
        return _NOTHING
    rows, similarity = state.index.search_exact(contexts.queries[asked], k, [filters[at] for at in asked])
    return _best_first(state, asked, np.where(similarity > -np.inf, rows, -1))


def _suggested(contexts: Contexts, state: ServingState, sizes: SourceSettings) -> list[dict[str, Any]]:
    """Return what every click suggests, newest first, one entry for each neighbour."""
    trends, catalogue = state.trends, state.catalogue
    found: list[dict[str, Any]] = []
    if not sizes.covisit and not sizes.covisit_recent:
        return found
    for request, keys in enumerate(contexts.keys):
        for click, key in enumerate(keys[: min(sizes.covisit_clicks, int(contexts.lengths[request]))]):
            if key in keys[:click]:
                continue
            clicked = trends.rows_of(keys[click : click + 1])
            neighbours, shares = (part[0] for part in trends.neighbours_at(clicked))
            rows = catalogue.rows_of(neighbours)
            lately = np.full(len(rows), np.nan, np.float32)
            order = np.argsort(-shares[:, RECENT], kind="stable")
            lately[order] = np.arange(len(rows))
            lately[shares[:, RECENT] == 0] = np.nan
            often = np.sqrt(trends.popularity_at(clicked, int(contexts.now_ms[request])))[0]
            found += [
                {
                    **{"request": request, "click": click, "row": int(rows[at]), "share": shares[at], "often": often},
                    **{"rank": np.float32(at), "recent_rank": lately[at]},
                    "brought": at < sizes.covisit or lately[at] < sizes.covisit_recent,
                }
                for at in range(len(rows))
                if shares[at, BOTH] > 0 and rows[at] >= 0 and catalogue.alive[rows[at]]
            ]
    return found


def _co_visitation(suggested: list[dict[str, Any]], at: dict[tuple[int, int], int]) -> dict[str, NDArray[Any]]:
    n = len(at)
    last: dict[str, Callable[[Any], Any]] = {
        "covisit_last": lambda one: one["share"][BOTH],
        "covisit_last_rank": lambda one: one["rank"],
        "after_last": lambda one: one["share"][AFTER],
        "together_last": lambda one: one["share"][RECENT],
        "together_last_rank": lambda one: one["recent_rank"],
        "paired_last": lambda one: one["share"][BOTH] * one["often"],
    }
    summed: dict[str, Callable[[Any], Any]] = {
        "covisit": lambda one: one["share"][BOTH] / np.float32(one["click"] + 1),
        "covisit_count": lambda one: 1.0,
        "after": lambda one: one["share"][AFTER] / np.float32(one["click"] + 1),
        "together": lambda one: one["share"][RECENT] / np.float32(one["click"] + 1),
        "paired": lambda one: one["share"][BOTH] * one["often"],
    }
    columns: dict[str, NDArray[Any]] = {name: np.full(n, np.nan, np.float32) for name in (*last, "covisit_second")}
    columns |= {name: np.zeros(n) for name in summed}
    columns["covisit_from"] = np.full(n, -1, np.int8)
    most = np.zeros(n, np.float32)
    for one in suggested:
        place = at.get((one["request"], one["row"]))
        if place is None:
            continue
        for name, value in last.items():
            if one["click"] == 0:
                columns[name][place] = value(one)
        for name, value in summed.items():
            columns[name][place] += value(one)
        if one["click"] == 1:
            columns["covisit_second"][place] = one["share"][BOTH]
        if summed["covisit"](one) > most[place]:
            most[place], columns["covisit_from"][place] = summed["covisit"](one), one["click"]
    return columns
