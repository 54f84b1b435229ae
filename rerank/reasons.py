"""Why an item is shown, in words that are true of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from contracts.events import EventCode
from rerank.pages import FROM_NEWEST, FROM_TRENDS, Pages
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Rows
from retrieval.popular import Popular

Float32s = NDArray[np.float32]

SIMILAR_FROM: Final = 0.35
"""Inner product of two item vectors from which they are called similar."""
OFTEN_FROM: Final = 0.02
"""Share of an item's clicks from which another is viewed with it often."""
_COMPARED: Final = 5
_LONGEST_TITLE = 60
_DID: Final[dict[int, str]] = {EventCode.CART: "put in the cart", EventCode.PURCHASE: "bought"}


_AGAIN: Final = 0
_OFTEN: Final = 1
_ALSO: Final = 2
_SIMILAR: Final = 3
POPULAR_NOW: Final = "popular now"
POPULAR_HERE: Final = "popular with visitors like you"
"""Of an item that the visitor's region, device or age group clicks more than all visitors do."""
FITS_CLICKS: Final = "fits what you looked at"
FITS_SAID: Final = "fits what you told us"
"""Of a visitor who said something (quiz, style tags, wishlist), and clicked nothing."""
_PLAIN: Final = (
    FITS_CLICKS,
    "one of the newest",
    POPULAR_NOW,
    "new",
    "you may also like",
    "you looked at this on an earlier visit",
)
"""Reasons that name no window entry, by their kind less `_FITS`."""
_FITS: Final = 4
_NEWEST: Final = 5
_POPULAR: Final = 6
_NEW: Final = 7
_MAY_LIKE: Final = 8
_EARLIER: Final = 9


def explain(pages: Pages, contexts: Contexts, candidates: Candidates, catalogue: CatalogueColumns) -> list[str]:
    """Return the reason of each item of all pages, one page after the other."""
    kinds, places = np.empty(len(pages.rows), np.int8), np.empty(len(pages.rows), np.int32)
    _reasons(
        pages.positions,
        pages.rows,
        pages.starts,
        contexts.rows,
        contexts.queries,
        contexts.has_query,
        catalogue.vectors,
        catalogue.has_vector,
        candidates.covisit_from,
        candidates.covisit,
        candidates.trending_rank,
        candidates.recent_rank,
        candidates.new_rank,
        candidates.own_rank,
        kinds,
        places,
    )
    reasons: list[str] = []
    starts, kind_of, place_of = pages.starts.tolist(), kinds.tolist(), places.tolist()
    for request, (begin, end) in enumerate(pairwise(starts)):
        said: dict[tuple[int, int], str] = {}
        for why in zip(kind_of[begin:end], place_of[begin:end], strict=True):
            if why not in said:
                said[why] = _said(*why, contexts, request, catalogue)
            reasons.append(said[why])
        if request in contexts.told:
            reasons[begin:end] = [FITS_SAID if why == FITS_CLICKS else why for why in reasons[begin:end]]
        if contexts.popular is not None:
            reasons[begin:end] = _by_groups(reasons[begin:end], pages.rows[begin:end], contexts.popular[request])
    return reasons


def _by_groups(reasons: list[str], rows: Rows, popular: Popular | None) -> list[str]:
    """Return reasons that say of what is popular whether it is so with the visitor's groups."""
    if popular is None:
        return reasons
    liked = popular.liked
    return [
        POPULAR_HERE if why == POPULAR_NOW and row in liked else why
        for why, row in zip(reasons, rows.tolist(), strict=True)
    ]


def _said(kind: int, place: int, contexts: Contexts, request: int, catalogue: CatalogueColumns) -> str:
    if kind >= _FITS:
        return _PLAIN[kind - _FITS]
    if kind == _AGAIN:
        return _again(contexts, request, place)
    name = _title(contexts, request, place, catalogue)
    if kind == _SIMILAR:
        return f'similar to "{name}"{_that_you(contexts, request, place)}'
    return f'{"often" if kind == _OFTEN else "also"} viewed with "{name}"'


@kernel(
    reads("i8"),
    reads("i4"),
    reads("i8"),
    reads("i4", 2),
    reads("f4", 2),
    reads("b1"),
    reads("f4", 2),
    reads("b1"),
    reads("i1"),
    reads("f4"),
    reads("f4"),
    reads("f4"),
    reads("f4"),
    reads("f4"),
    writes("i1"),
    writes("i4"),
    any_order=True,
)
def _reasons(
    positions: NDArray[np.intp],
    rows: Rows,
    starts: NDArray[np.intp],
    windows: Rows,
    queries: Float32s,
    has_query: NDArray[np.bool_],
    vectors: Float32s,
    has_vector: NDArray[np.bool_],
    covisit_from: NDArray[np.int8],
    covisit: Float32s,
    trending_rank: Float32s,
    recent_rank: Float32s,
    new_rank: Float32s,
    own_rank: Float32s,
    kinds: NDArray[np.int8],
    places: NDArray[np.int32],
) -> None:
    """Write the kind of reason of each item (n,), and the window entry that it names, -1 for none."""
    for request in range(len(starts) - 1):
        width = min(_COMPARED, windows.shape[1])
        for item in range(starts[request], starts[request + 1]):
            at, row = positions[item], rows[item]
            place = _viewed_at(row, windows[request])
            if place >= 0:
                kinds[item], places[item] = _AGAIN, place
                continue
            if at >= 0 and own_rank[at] >= 0:
                kinds[item], places[item] = _EARLIER, -1
                continue
            if at >= 0 and covisit_from[at] >= 0:
                kinds[item], places[item] = _OFTEN if covisit[at] >= OFTEN_FROM else _ALSO, covisit_from[at]
                continue
            most = np.float32(SIMILAR_FROM)
            fits: bool | np.bool_ = False
            for entry in range(width + 1):
                other = windows[request, entry] if entry < width else -1
                if not (has_query[request] if entry == width else other >= 0 and has_vector[other] and has_vector[row]):
                    continue
                towards = queries[request] if entry == width else vectors[other]
                cosine = np.float32(0)
                for k in range(vectors.shape[1]):
                    cosine += vectors[row, k] * towards[k]
                if entry == width:
                    fits = cosine >= np.float32(SIMILAR_FROM)
                elif cosine > most or (place < 0 and cosine >= most):
                    place, most = entry, cosine
            places[item] = place
            if place >= 0:
                kinds[item] = _SIMILAR
            elif fits:
                kinds[item] = _FITS
            elif at == FROM_NEWEST:
                kinds[item] = _NEWEST
            elif at == FROM_TRENDS or trending_rank[at] >= 0 or recent_rank[at] >= 0:
                kinds[item] = _POPULAR
            else:
                kinds[item] = _NEW if new_rank[at] >= 0 else _MAY_LIKE


@inlined
def _viewed_at(row: int, window: Rows) -> int:
    """Return the newest window entry of a row, -1 for none."""
    for place in range(len(window)):
        if window[place] == row:
            return place
    return -1


def _again(contexts: Contexts, request: int, place: int) -> str:
    if place == 0 and contexts.page_leads[request]:
        return "the item of this page"
    return f"you {_did(contexts, request, place)} this"


def _that_you(contexts: Contexts, request: int, place: int) -> str:
    if place == 0 and contexts.page_leads[request]:
        return ""
    return f" that you {_did(contexts, request, place)}"


def _did(contexts: Contexts, request: int, place: int) -> str:
    return _DID.get(int(contexts.codes[request, place]), "viewed")


def _title(contexts: Contexts, request: int, place: int, catalogue: CatalogueColumns) -> str:
    row = int(contexts.rows[request, place])
    title = catalogue.documents[row].title if row >= 0 else ""
    if not title:
        return "an item you saw"
    return title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1].rstrip() + "…"
