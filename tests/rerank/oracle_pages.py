"""Pages by plain arrays, request by request: what the kernels around ranking are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.events import EventCode
from contracts.ids import item_key
from contracts.sessions import CLICK, NO_CLICKS
from rerank.pages import FROM_NEWEST, FROM_TRENDS, Filling, Page, Wanted
from rerank.query import Query
from rerank.reasons import OFTEN_FROM, SIMILAR_FROM
from rerank.rules import KEPT, Proposed, Rule, limit_per_category
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Rows
from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]

_COMPARED = 5
_LONGEST_TITLE = 60
_DID = {EventCode.CART: "put in the cart", EventCode.PURCHASE: "bought"}
_DAMPING = 60.0


def windows(
    queries: Sequence[Query], catalogue: CatalogueColumns
) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Return the clicks (b, w), newest first, their rows, how many each request has, and whether a page leads."""
    windows = [query.session.window if query.session is not None else NO_CLICKS for query in queries]
    pages = [item_key(query.item_id) if query.item_id is not None else None for query in queries]
    leads = np.array(
        [
            page is not None and not (len(window) and window["item"][-1] == page)
            for page, window in zip(pages, windows, strict=True)
        ],
        np.bool_,
    )
    lengths = np.array([len(window) for window in windows], np.int32) + leads
    clicks = np.zeros((len(queries), int(lengths.max(initial=1))), CLICK)
    for at, (query, window, page) in enumerate(zip(queries, windows, pages, strict=True)):
        lead = int(leads[at])
        clicks[at, lead : lead + len(window)] = window[::-1]
        if lead:
            clicks[at, 0] = (query.now_ms, page, 0, EventCode.VIEW)
    used = np.arange(clicks.shape[1]) < lengths[:, None]  # (b, w)
    rows = np.where(used, catalogue.rows_of(np.ascontiguousarray(clicks["item"])), np.int32(-1))
    return clicks, rows, lengths, leads


def order_of(candidates: Candidates, scores: Float32s) -> NDArray[np.intp]:
    """Return positions grouped by request, best score first."""
    return np.lexsort((-scores, candidates.request))


def retrieval_scores(candidates: Candidates, contexts: Contexts, state: ServingState) -> Float32s:
    """Return scores (c,) that merge the sources' own orders by reciprocal rank fusion.

    Nearness and co-visitation weigh alike; recent co-visitation up to twice as much, by how much the newest item was
    clicked lately; what trends fills the rest. Items that the caller gave are ordered by their similarity to the
    session and by their place in the caller's list.
    """
    near, given = candidates.nearest_rank, candidates.given_rank >= 0
    if given.any():
        near = np.where(given, _similarity_rank(candidates, contexts, state.catalogue, given), near)
    scores = _reciprocal(near) + _reciprocal(_rank_of(candidates, candidates.covisit, candidates.covisit > 0))
    lately = _reciprocal(_rank_of(candidates, candidates.together, candidates.together > 0))
    trends = state.trends
    recent = trends.recent_at(trends.rows_of(contexts.keys[:, 0]), contexts.now_ms)  # (b,)
    scores += lately * (2.0 * recent / (recent + 50.0))[candidates.request]
    scores += 0.1 * _reciprocal(candidates.trending_rank) + _reciprocal(candidates.given_rank)
    return scores.astype(np.float32)


def _reciprocal(ranks: Float32s) -> Float32s:
    return np.where(ranks >= 0, np.float32(1) / (np.float32(_DAMPING) + ranks), np.float32(0))


def _rank_of(candidates: Candidates, values: Float32s, ranked: NDArray[np.bool_]) -> Float32s:
    """Return each candidate's place among its request's by value, largest first, (c,); NaN where not ranked."""
    at = np.flatnonzero(ranked)
    order = at[np.lexsort((-values[at], candidates.request[at]))]
    request = candidates.request[order]
    ranks = np.full(len(candidates), np.nan, np.float32)
    ranks[order] = np.arange(len(order)) - np.searchsorted(request, request)
    return ranks


def _similarity_rank(
    candidates: Candidates, contexts: Contexts, catalogue: CatalogueColumns, given: NDArray[np.bool_]
) -> Float32s:
    usable = given & contexts.has_query[candidates.request] & catalogue.has_vector[candidates.rows]
    at = np.flatnonzero(usable)
    similarity = np.zeros(len(candidates), np.float32)
    if len(at):
        towards = contexts.queries[candidates.request[at]]  # (n, d)
        similarity[at] = np.einsum("nd,nd->n", catalogue.vectors[candidates.rows[at]], towards)
    return _rank_of(candidates, similarity, usable)


def dropped_by(proposed: Proposed, rules: Sequence[Rule]) -> NDArray[np.int8]:
    """Return the place of the first rule that drops each candidate, each rule asked by itself."""
    by = np.full(len(proposed.rows), KEPT, np.int8)
    for place, rule in enumerate(rules):
        by[rule(proposed) & (by == KEPT)] = place
    return by


def lay_out(
    proposed: Proposed,
    order: NDArray[np.intp],
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
) -> tuple[list[Page], NDArray[np.int8]]:
    """Return every request's page, and which rule dropped each candidate, (c,): its place among `rules`, len(rules)
    for the limit per category, or KEPT. That limit dropped what would have been on the page without it.

    `order` holds the candidates' positions, best first, grouped by request.
    """
    by = dropped_by(proposed, rules)
    order = order[by[order] == KEPT]
    category = proposed.catalogue.category[proposed.rows]
    layout = limit_per_category(proposed.request, category, order, wanted.per_category)
    requests = np.arange(len(wanted.limits) + 1)
    shown = np.searchsorted(proposed.request[layout.shown], requests)
    over = np.searchsorted(proposed.request[layout.over], requests)
    places = np.empty(len(proposed.rows), np.intp)
    places[order] = np.arange(len(order))
    pages = []
    for at, limit in enumerate(wanted.limits.tolist()):
        mine = layout.shown[shown[at] : min(shown[at + 1], shown[at] + limit)]
        beyond = layout.over[over[at] : over[at + 1]]
        page = Page(mine, proposed.rows[mine], scores[mine])
        if len(mine) < limit:
            page = _filled(page, at, beyond, proposed, scores, wanted, filling, rules)
            beyond = beyond[~np.isin(beyond, page.positions)]
        elif len(beyond):
            beyond = beyond[places[beyond] < places[mine[-1]]]
        by[beyond] = len(rules)
        pages.append(page)
    return pages, by


def _filled(
    page: Page,
    request: int,
    over: NDArray[np.intp],
    proposed: Proposed,
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
) -> Page:
    """Fill a page up: from what trends, within the limit per category, then from whatever that limit held back, and at
    last from the newest items.
    """
    limit, per_category = int(wanted.limits[request]), int(wanted.per_category[request])
    trending, newest = np.zeros(0, np.int32), np.zeros(0, np.int32)
    if wanted.may_fill_up[request]:
        trending = _further(request, proposed, filling.trending(), rules)
        if len(page.rows) + len(trending) + len(over) < limit:
            newest = _further(request, proposed, filling.newest(request), rules)
            newest = newest[~np.isin(newest, trending)]
    from_trends, from_newest = np.full(len(trending), FROM_TRENDS, np.intp), np.full(len(newest), FROM_NEWEST, np.intp)
    positions = np.concatenate([page.positions, from_trends, over, from_newest])
    rows = np.concatenate([page.rows, trending, proposed.rows[over], newest])
    fresh = limit_per_category(
        np.zeros(len(rows), np.int32),
        proposed.catalogue.category[rows],
        np.arange(len(rows)),
        np.array([per_category], np.int32),
    )
    chosen = np.concatenate([fresh.shown, fresh.over])[:limit]
    return Page(positions[chosen], rows[chosen], _falling(positions[chosen], scores))


def _further(request: int, proposed: Proposed, rows: Rows, rules: Sequence[Rule]) -> Rows:
    """Return those of the rows that are no candidates of the request and that its rules leave."""
    mine = proposed.rows[proposed.request == request]
    rows = rows[~np.isin(rows, mine)]
    further = Proposed(
        np.full(len(rows), request, np.int32), rows, proposed.catalogue, proposed.contexts, proposed.visitors
    )
    kept: Rows = rows[dropped_by(further, rules) == KEPT]
    return kept


def _falling(positions: NDArray[np.intp], scores: Float32s) -> Float32s:
    """Return scores that never rise down the page; an item without one stands level with the one before it."""
    falling: list[float] = []
    for position in positions.tolist():
        before = falling[-1] if falling else float(scores.max(initial=0.0))
        falling.append(min(before, float(scores[position])) if position >= 0 else before)
    return np.array(falling, np.float32)


def explain(
    positions: NDArray[np.intp],
    rows: NDArray[np.int32],
    request: int,
    contexts: Contexts,
    candidates: Candidates,
    catalogue: CatalogueColumns,
) -> list[str]:
    """Return the reason of each item of one request's page: its `rows` and `positions` (see `rerank.pages.Page`)."""
    window = contexts.rows[request]  # (w,)
    similar_to = _most_similar(rows, window, catalogue)
    viewed_at = _places(rows, window)
    reasons = []
    fits = _fits(rows, request, contexts, catalogue)
    for at, place, similar, fitting in zip(positions.tolist(), viewed_at, similar_to, fits, strict=True):
        origin = int(candidates.covisit_from[at]) if at >= 0 else -1
        if place >= 0:
            reasons.append(_again(contexts, request, place))
        elif origin >= 0:
            often = "often" if candidates.covisit[at] >= OFTEN_FROM else "also"
            reasons.append(f'{often} viewed with "{_title(contexts, request, origin, catalogue)}"')
        elif similar >= 0:
            name = _title(contexts, request, similar, catalogue)
            reasons.append(f'similar to "{name}"{_that_you(contexts, request, similar)}')
        elif fitting:
            reasons.append("fits what you looked at")
        elif at == FROM_NEWEST:
            reasons.append("one of the newest")
        elif at == FROM_TRENDS or candidates.trending_rank[at] >= 0 or candidates.recent_rank[at] >= 0:
            reasons.append("popular now")
        elif candidates.new_rank[at] >= 0:
            reasons.append("new")
        else:
            reasons.append("you may also like")
    return reasons


def _most_similar(rows: NDArray[np.int32], window: NDArray[np.int32], catalogue: CatalogueColumns) -> list[int]:
    """Return the window entry each row is most similar to, -1 where none is similar."""
    recent = window[:_COMPARED]
    entries = np.flatnonzero((recent >= 0) & catalogue.has_vector[recent]) if catalogue.count else np.zeros(0, np.intp)
    if not len(entries) or not len(rows):
        return [-1] * len(rows)
    similarity = (catalogue.vectors[rows][:, None] * catalogue.vectors[recent[entries]]).sum(axis=2)  # (n, r)
    best = similarity.argmax(axis=1)
    strong = similarity[np.arange(len(rows)), best] >= SIMILAR_FROM
    found: list[int] = np.where(strong & catalogue.has_vector[rows], entries[best], -1).tolist()
    return found


def _fits(rows: NDArray[np.int32], request: int, contexts: Contexts, catalogue: CatalogueColumns) -> list[bool]:
    """Return which rows are similar to the session as a whole."""
    if not contexts.has_query[request]:
        return [False] * len(rows)
    fits: list[bool] = (catalogue.vectors[rows] @ contexts.queries[request] >= SIMILAR_FROM).tolist()
    return fits


def _places(rows: NDArray[np.int32], window: NDArray[np.int32]) -> list[int]:
    """Return the newest window entry of each row, -1 where there is none."""
    if not len(window):
        return [-1] * len(rows)
    same = rows[:, None] == window  # (n, w)
    places: list[int] = np.where(same.any(axis=1), same.argmax(axis=1), -1).tolist()
    return places


def _again(contexts: Contexts, request: int, place: int) -> str:
    if place == 0 and contexts.page_leads[request]:
        return "the item of this page"
    return f"you {_did(contexts, request, place)} this"


def _that_you(contexts: Contexts, request: int, place: int) -> str:
    if place == 0 and contexts.page_leads[request]:
        return ""
    return f" that you {_did(contexts, request, place)}"


def _did(contexts: Contexts, request: int, place: int) -> str:
    return _DID.get(EventCode(int(contexts.codes[request, place])), "viewed")


def _title(contexts: Contexts, request: int, place: int, catalogue: CatalogueColumns) -> str:
    row = int(contexts.rows[request, place])
    title = catalogue.documents[row].title if row >= 0 else ""
    if not title:
        return "an item you saw"
    return title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1].rstrip() + "…"
