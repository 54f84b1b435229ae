"""Why an item is shown, in words that are true of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.events import EventCode
from rerank.pages import FROM_NEWEST, FROM_TRENDS
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns

SIMILAR_FROM = 0.35
"""Inner product of two item vectors from which they are called similar."""
OFTEN_FROM = 0.02
"""Share of an item's clicks from which another is viewed with it often."""
_COMPARED = 5
_LONGEST_TITLE = 60
_DID = {EventCode.CART: "put in the cart", EventCode.PURCHASE: "bought"}


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
    similarity = catalogue.vectors[rows] @ catalogue.vectors[recent[entries]].T  # (n, r)
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
