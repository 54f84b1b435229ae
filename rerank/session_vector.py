"""From queries to arrays: windows laid side by side, and each session's vector in the space of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from compiled.lookups import row_of
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.sessions import CLICK, NO_CLICKS, Clicks
from rerank.feedback import against_of, has_feedback, parted, pushed_away, turned_down_before
from rerank.query import Query
from retrieval.candidates import Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Keys, Rows
from session_model.encoder import SessionEncoder

Float32s = NDArray[np.float32]

_VIEW: Final = int(EventCode.VIEW)
_SOURCE: Final = "bought_together"
_BASKET: Final = 20
"""Items of a cart that are asked for, the last ones."""
_SESSION_BESIDE_PAGE: Final = np.float32(0.5)
"""What the session's vector weighs beside the item of a product page."""


def contexts_of(queries: Sequence[Query], catalogue: CatalogueColumns, encoder: SessionEncoder | None) -> Contexts:
    """Return the windows and the query vectors of the queries' visitors."""
    b = len(queries)
    windows = [query.session.window if query.session is not None else NO_CLICKS for query in queries]
    clicks = _end_to_end(windows)
    said: list[dict[int, float]] = []
    before = _said_before(queries, windows) if any(query.learnt is not None for query in queries) else None
    if has_feedback(clicks):
        shown, said = [], []
        for window in windows:
            wanted, turned_down = parted(window)
            shown.append(wanted)
            said.append(turned_down)
        queries, windows = _without(queries, windows, said), shown
        clicks = _end_to_end(windows)
    baskets = _baskets(queries, windows)
    if baskets is not None:
        windows = [_cart_last(query, window) for query, window in zip(queries, windows, strict=True)]
        clicks = _end_to_end(windows)
    lengths = np.array([len(window) for window in windows], np.int32)
    pages = np.array([0 if query.item_id is None else item_key(query.item_id) for query in queries], np.uint64)
    leads = np.array([query.item_id is not None for query in queries], np.bool_)
    now_ms = np.array([query.now_ms for query in queries], np.int64)
    shape = b, _lead(clicks, pages, lengths, leads)
    keys, rows = np.empty(shape, np.uint64), np.empty(shape, np.int32)
    codes, ts_ms = np.empty(shape, np.uint8), np.empty(shape, np.int64)
    _lay_side_by_side(clicks, now_ms, pages, lengths, leads, *catalogue.slots, keys, rows, codes, ts_ms)
    vectors = _queries(queries, rows, leads, catalogue, encoder)
    if baskets is not None and vectors.shape[1]:
        _led_by(queries, baskets, vectors, catalogue)
    if before is not None:
        said = [earlier | now for earlier, now in zip(before, said or [{}] * b, strict=True)]
    against = against_of(said, pages, catalogue) if said else None
    if against is not None and against.strengths.any() and vectors.shape[1]:
        vectors = pushed_away(vectors, against, catalogue)
    has_query = np.empty(b, np.bool_)
    _which_are_there(vectors, has_query)
    return Contexts(
        now_ms=now_ms,
        keys=keys,
        rows=rows,
        codes=codes,
        ts_ms=ts_ms,
        lengths=lengths,
        page_leads=leads,
        queries=vectors,
        has_query=has_query,
        against=against,
        baskets=baskets,
    )


def _said_before(queries: Sequence[Query], windows: Sequence[Clicks]) -> list[dict[int, float]] | None:
    """Return the ItemKeys of what each user turned down in earlier sessions, with strength 0; None: nobody did."""
    said: list[dict[int, float]] = [
        {}
        if query.learnt is None
        else dict.fromkeys(turned_down_before(query.learnt.profile.clicks, window).tolist(), 0.0)
        for query, window in zip(queries, windows, strict=True)
    ]
    return said if any(said) else None


def _baskets(queries: Sequence[Query], windows: Sequence[Clicks]) -> Keys | None:
    """Return what each request's answer is to go with, as ItemKeys (b, n), 0 for none: the item of a product page, what
    is in the cart, or, where a scenario asks for what was bought together, what was taken. None: nobody asks.
    """
    baskets: list[list[int]] = []
    for query, window in zip(queries, windows, strict=True):
        meant, asks = query.placement.defaults, query.scenario is not None and _SOURCE in query.scenario.sources
        if meant.page_leads and query.item_id is not None:
            baskets.append([item_key(query.item_id)])
        elif meant.cart_leads or asks:
            baskets.append(in_cart(window))
        else:
            baskets.append([])
    widest = max(map(len, baskets), default=0)
    if not widest:
        return None
    return np.array([basket + [0] * (widest - len(basket)) for basket in baskets], np.uint64)


def in_cart(window: Clicks) -> list[int]:
    """Return the ItemKeys of what is in the cart, oldest first: put there and not bought since. Of a session whose
    cart is empty, what it bought.
    """
    cart: dict[int, None] = {}
    bought: dict[int, None] = {}
    for item, code in zip(window["item"].tolist(), window["code"].tolist(), strict=True):
        if code == EventCode.CART:
            cart[item] = None
        elif code == EventCode.PURCHASE:
            cart.pop(item, None)
            bought[item] = None
    return list(cart or bought)[-_BASKET:]


def _cart_last(query: Query, window: Clicks) -> Clicks:
    """Return the window of a request that the cart leads with what is in the cart as its newest clicks."""
    if not query.placement.defaults.cart_leads:
        return window
    taken = np.isin(window["item"], np.array(in_cart(window), np.uint64)) & (window["code"] != EventCode.VIEW)
    return np.concatenate([window[~taken], window[taken]]) if taken.any() else window


def _led_by(queries: Sequence[Query], baskets: Keys, vectors: Float32s, catalogue: CatalogueColumns) -> None:
    """Put the query vectors of requests that a cart or a page's item leads where these point, in place: the mean of the
    cart; the page's item, and half as much the session.
    """
    rows = catalogue.rows_of(baskets.ravel()).reshape(baskets.shape)
    for at, query in enumerate(queries):
        meant = query.placement.defaults
        known = rows[at][(rows[at] >= 0) & (baskets[at] != 0)]
        known = known[catalogue.has_vector[known]]
        if len(known) and (meant.cart_leads or meant.page_leads):
            led = catalogue.vectors[known].sum(axis=0)
            led = led + _SESSION_BESIDE_PAGE * vectors[at] if meant.page_leads else led
            vectors[at] = led / max(float(np.linalg.norm(led)), 1e-6)


def _end_to_end(windows: Sequence[Clicks]) -> Clicks:
    return np.frombuffer(b"".join([window.tobytes() for window in windows]), CLICK)  # concatenate is 20 times slower


def _without(queries: Sequence[Query], windows: Sequence[Clicks], said: Sequence[Mapping[int, float]]) -> list[Query]:
    """Return the queries with sessions that forget their clicks on items that were turned down: to be encoded again."""
    changed = list(queries)
    for at, (query, turned_down) in enumerate(zip(queries, said, strict=True)):
        if turned_down and query.session is not None:
            kept = ~np.isin(windows[at]["item"], np.fromiter(turned_down, np.uint64, len(turned_down)))
            changed[at] = replace(query, session=replace(query.session, window=windows[at][kept], model_version=0))
    return changed


@kernel(reads(CLICK), reads("u8"), writes("i4"), writes("b1"))
def _lead(clicks: Clicks, pages: Keys, lengths: NDArray[np.int32], leads: NDArray[np.bool_]) -> int:
    """Let `leads` (b,) be only where the page's item was not the last thing clicked, and count it into `lengths` (b,).

    Returns the largest length, at least 1.
    """
    end, widest = 0, 1
    for request in range(len(lengths)):
        end += lengths[request]
        if leads[request] and lengths[request] > 0 and clicks[end - 1]["item"] == pages[request]:
            leads[request] = False
        lengths[request] += leads[request]
        widest = max(widest, lengths[request])
    return widest


@kernel(
    *(reads(CLICK), reads("i8"), reads("u8"), reads("i4"), reads("b1"), reads("u8"), reads("i4")),
    *(writes("u8", 2), writes("i4", 2), writes("u1", 2), writes("i8", 2)),
)
def _lay_side_by_side(
    clicks: Clicks,
    now_ms: NDArray[np.int64],
    pages: Keys,
    lengths: NDArray[np.int32],
    leads: NDArray[np.bool_],
    slot_keys: Keys,
    slot_rows: Rows,
    keys: Keys,
    rows: Rows,
    codes: NDArray[np.uint8],
    ts_ms: NDArray[np.int64],
) -> None:
    """Write every window, which lie one behind the other in `clicks`, newest click first; before it a leading page.
    Entries beyond a window's length are no item's: row -1, else 0.
    """
    begin = 0
    for request in range(len(lengths)):
        at = 0
        if leads[request]:
            keys[request, 0], codes[request, 0], ts_ms[request, 0] = pages[request], _VIEW, now_ms[request]
            at = 1
        count = lengths[request] - at
        for click in range(count):
            one = clicks[begin + count - 1 - click]
            keys[request, at + click] = one["item"]
            codes[request, at + click] = one["code"]
            ts_ms[request, at + click] = one["ts_ms"]
        begin += count
        for place in range(keys.shape[1]):
            if place < lengths[request]:
                rows[request, place] = row_of(slot_keys, slot_rows, keys[request, place])
            else:
                keys[request, place], codes[request, place], ts_ms[request, place] = 0, 0, 0
                rows[request, place] = -1


@kernel(reads("f4", 2), writes("b1"))
def _which_are_there(vectors: Float32s, there: NDArray[np.bool_]) -> None:
    """Write which vectors (b, d) have a number that is not 0."""
    for at in range(vectors.shape[0]):
        there[at] = False
        for k in range(vectors.shape[1]):
            if vectors[at, k] != 0:
                there[at] = True
                break


def _queries(
    queries: Sequence[Query],
    rows: NDArray[np.int32],
    leads: NDArray[np.bool_],
    catalogue: CatalogueColumns,
    encoder: SessionEncoder | None,
) -> Float32s:
    """Return unit vectors (b, d), zeros where nothing is known. A leading page's item counts as one more view."""
    if encoder is None or catalogue.model_version != encoder.version or not catalogue.count:
        return np.zeros((len(queries), catalogue.dim or 0), np.float32)
    states = _states(queries, catalogue, encoder)
    if True in leads.tolist():
        stepped = np.flatnonzero(leads & (rows[:, 0] >= 0) & catalogue.has_vector[rows[:, 0]])
        views = np.full(len(stepped), EventCode.VIEW, np.uint8)
        states[stepped] = encoder.step(states[stepped], catalogue.vectors[rows[stepped, 0]], views)
    return encoder.query(states)


def _states(queries: Sequence[Query], catalogue: CatalogueColumns, encoder: SessionEncoder) -> Float32s:
    """Return the sessions' states (b, width): as stored where they are whole and of this model, else encoded anew."""
    states = encoder.empty(len(queries))
    again: list[int] = []
    windows: list[Clicks] = []
    for at, query in enumerate(queries):
        session = query.session
        if session is None:
            continue
        whole = session.model_version == encoder.version and not session.incomplete
        if whole and len(session.embedding) == encoder.width:
            states[at] = session.embedding
        else:
            again.append(at)
            windows.append(session.window)
    if again:
        states[again], _ = encoder.encode(windows, catalogue)
    return states
