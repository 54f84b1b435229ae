"""From queries to arrays: windows laid side by side, and each session's vector in the space of the items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.events import EventCode
from contracts.ids import item_key
from contracts.sessions import CLICK, NO_CLICKS, Clicks
from rerank.query import Query
from retrieval.candidates import Contexts
from retrieval.catalogue import CatalogueColumns
from session_model.encoder import SessionEncoder

Float32s = NDArray[np.float32]


def contexts_of(queries: Sequence[Query], catalogue: CatalogueColumns, encoder: SessionEncoder | None) -> Contexts:
    """Return the windows and the query vectors of the queries' visitors."""
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
    keys = np.ascontiguousarray(clicks["item"])
    used = np.arange(keys.shape[1]) < lengths[:, None]  # (b, w)
    rows = np.where(used, catalogue.rows_of(keys), np.int32(-1))
    vectors = _queries(queries, windows, rows, leads, catalogue, encoder)
    return Contexts(
        now_ms=np.array([query.now_ms for query in queries], np.int64),
        keys=keys,
        rows=rows,
        codes=np.ascontiguousarray(clicks["code"]),
        ts_ms=np.ascontiguousarray(clicks["ts_ms"]),
        lengths=lengths,
        page_leads=leads,
        queries=vectors,
        has_query=np.any(vectors != 0, axis=1),
    )


def _queries(
    queries: Sequence[Query],
    windows: Sequence[Clicks],
    rows: NDArray[np.int32],
    leads: NDArray[np.bool_],
    catalogue: CatalogueColumns,
    encoder: SessionEncoder | None,
) -> Float32s:
    """Return unit vectors (b, d), zeros where nothing is known. A leading page's item counts as one more view."""
    if encoder is None or catalogue.model_version != encoder.version or not catalogue.count:
        return np.zeros((len(queries), catalogue.dim or 0), np.float32)
    states = _states(queries, windows, catalogue, encoder)
    stepped = np.flatnonzero(leads)
    stepped = stepped[(rows[stepped, 0] >= 0) & catalogue.has_vector[rows[stepped, 0]]] if len(stepped) else stepped
    if len(stepped):
        views = np.full(len(stepped), EventCode.VIEW, np.uint8)
        states[stepped] = encoder.step(states[stepped], catalogue.vectors[rows[stepped, 0]], views)
    return encoder.query(states)


def _states(
    queries: Sequence[Query], windows: Sequence[Clicks], catalogue: CatalogueColumns, encoder: SessionEncoder
) -> Float32s:
    """Return the sessions' states (b, width): as stored where they are whole and of this model, else encoded anew."""
    states = encoder.empty(len(queries))
    again = []
    for at, query in enumerate(queries):
        session = query.session
        if session is None:
            continue
        whole = session.model_version == encoder.version and not session.incomplete
        if whole and len(session.embedding) == encoder.width:
            states[at] = session.embedding
        else:
            again.append(at)
    if again:
        states[again], _ = encoder.encode([windows[at] for at in again], catalogue)
    return states
